"""The former place of ``cluster.spot_notice``, which older cluster files run. It goes after 0.2."""

import sys

from dann_search.cluster.spot_notice import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
