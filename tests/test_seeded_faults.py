"""The list of seeded faults still fits the code; ``.ci/seeded_faults.py`` itself takes minutes."""

import runpy
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_fault_can_still_be_made_in_one_place_and_has_its_tests() -> None:
    faults = runpy.run_path(str(ROOT / ".ci" / "seeded_faults.py"), run_name="listed")["FAULTS"]
    assert len(faults) >= 30
    assert max(Counter(fault.name for fault in faults).values()) == 1
    for fault in faults:
        assert (ROOT / fault.file).read_text().count(fault.before) == 1, fault.name
        assert fault.before != fault.after
        for test in fault.tests:
            file, _, name = test.partition("::")
            content = (ROOT / file).read_text()
            assert not name or f"def {name.split('[')[0]}(" in content, test
