"""The embedded domains: scikit-learn's digits, plain and blended over photographs.

`digits-m` follows the construction of MNIST-M (Ganin et al., JMLR 2016, section 5.2.4): the
absolute difference, per channel, of a digit and a random patch of a photograph. The 1,797 optdigits
are divided by content hash, so that no digit image is in both domains. `digits-m4` has each of
these digits over four patches. The four have one key and are therefore in one split.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from dann_search.data.decode import decode_image
from dann_search.data.domain import Domain, Image

SIDE = 28
"""Pixels at which digits are blended: the size of MNIST-M."""

SOURCE_SHARE = 0.4
"""Share of the digits that become the source domain; the target needs more for val and test."""


PATCHES = {"digits-m": 1, "digits-m4": 4}
"""Photograph patches that each digit of a blended domain is seen over."""


def load_digits_domain(name: str) -> Domain:
    """Load one of the embedded domains; the same images in every process and on every machine."""
    from sklearn.datasets import load_digits, load_sample_images

    bunch = load_digits()
    raw = bunch.images.astype(np.uint8)  # (1797, 8, 8), values 0 to 16
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in raw]
    in_source = np.array([int(key[:8], 16) / 2**32 < SOURCE_SHARE for key in hashes])
    if name == "digits":
        mine = np.flatnonzero(in_source)
        images = [np.repeat(_upscale(raw[i])[None], 3, axis=0) for i in mine]
    else:
        mine = np.repeat(np.flatnonzero(~in_source), PATCHES[name])
        photographs = [np.asarray(one, dtype=np.uint8) for one in load_sample_images().images]
        images = [
            _blend(_upscale(raw[i]), photographs, hashes[i], (int(i), number % PATCHES[name]))
            for number, i in enumerate(mine)
        ]

    def decode(index: int, side: int) -> Image:
        return decode_image(PILImage.fromarray(images[index].transpose(1, 2, 0)), side)

    return Domain(
        name=name,
        class_names=tuple(str(digit) for digit in range(10)),
        labels=bunch.target[mine].astype(np.int64),
        keys=[hashes[i] for i in mine],
        decode=decode,
        places=[f"optdigits image {i}" for i in mine],
    )


def _upscale(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an 8 x 8 digit of values 0 to 16 to 28 x 28 pixels of 0 to 255."""
    scaled = np.minimum(digit.astype(np.float32) * (255 / 16), 255).astype(np.uint8)
    return np.asarray(PILImage.fromarray(scaled).resize((SIDE, SIDE), PILImage.Resampling.BICUBIC))


def _blend(
    digit: NDArray[np.uint8],
    photographs: list[NDArray[np.uint8]],
    key: str,
    number: tuple[int, int],
) -> Image:
    """|digit - patch| per channel; the patch depends on the digit's content and numbers alone."""
    index, copy = number
    # The first patch of a digit is the same in every blended domain.
    rng = np.random.default_rng([int(key[:15], 16), index, *([copy] if copy else [])])
    photograph = photographs[rng.integers(len(photographs))]
    top = rng.integers(photograph.shape[0] - SIDE)
    left = rng.integers(photograph.shape[1] - SIDE)
    patch = photograph[top : top + SIDE, left : left + SIDE].astype(np.int16)
    blended: Image = np.abs(digit.astype(np.int16)[:, :, None] - patch).astype(np.uint8)
    return blended.transpose(2, 0, 1)
