"""The embedded pair of domains."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from dann_search.config.data import SplitsConfig
from dann_search.data import digits
from dann_search.data.digits import load_digits_domain
from dann_search.data.domain import Domain
from dann_search.data.splits import split_domain


@pytest.fixture(scope="module")
def source() -> Domain:
    return load_digits_domain("digits")


@pytest.fixture(scope="module")
def target() -> Domain:
    return load_digits_domain("digits-m")


def number_of(domain: Domain, index: int) -> int:
    """Which of scikit-learn's digits an image was made from."""
    return int(domain.places[index].rsplit(" ", 1)[1])


def test_no_digit_is_in_both_domains_and_each_is_in_one(source: Domain, target: Domain) -> None:
    assert not set(source.keys) & set(target.keys)
    numbers = [number_of(d, i) for d in (source, target) for i in range(len(d))]
    assert sorted(numbers) == list(range(1797))


def test_more_photographs_behind_a_digit_are_more_images_of_one_split(target: Domain) -> None:
    more = load_digits_domain("digits-m4")
    assert len(more) == 4 * len(target)
    for index in (0, 5, len(target) - 1):
        first, *others = range(4 * index, 4 * index + 4)
        assert number_of(more, first) == number_of(target, index)
        assert (more.decode(first, 28) == target.decode(index, 28)).all()
        for other in others:
            assert more.keys[other] == target.keys[index]
            assert more.labels[other] == target.labels[index]
            assert (more.decode(other, 28) != more.decode(first, 28)).any()
    splits = split_domain(more, SplitsConfig())
    keys = [{more.keys[row] for row in rows} for rows in splits.values()]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert len(splits["test"]) == 4 * len(split_domain(target, SplitsConfig())["test"])


def test_labels_and_hashes_are_those_of_the_digits(source: Domain, target: Domain) -> None:
    bunch = load_digits()
    for domain in (source, target):
        assert domain.class_names == tuple("0123456789")
        for index in (0, 7, len(domain) - 1):
            number = number_of(domain, index)
            raw = bunch.images[number].astype(np.uint8)
            assert domain.labels[index] == bunch.target[number]
            assert domain.keys[index] == hashlib.sha256(raw.tobytes()).hexdigest()


def test_content_is_the_same_each_time(target: Domain) -> None:
    again = load_digits_domain("digits-m")
    for index in (0, 100, len(target) - 1):
        assert (target.decode(index, 28) == again.decode(index, 28)).all()


def test_every_class_has_enough_images_in_both_domains(source: Domain, target: Domain) -> None:
    for domain in (source, target):
        assert np.bincount(domain.labels, minlength=10).min() >= 30


def test_digits_are_grey_and_their_background_is_black(source: Domain) -> None:
    image = source.decode(0, digits.SIDE)
    assert image.dtype == np.uint8 and image.shape == (3, digits.SIDE, digits.SIDE)
    assert (image[0] == image[1]).all() and (image[1] == image[2]).all()
    assert image.max() > 200 and image.min() == 0


def test_digits_m_is_the_absolute_difference_of_a_digit_and_a_patch_of_a_photograph(
    target: Domain,
) -> None:
    """The patch is found again in the photographs, by what shows at the digit's black pixels."""
    raw = load_digits().images
    digit = digits._upscale(raw[number_of(target, 3)].astype(np.uint8)).astype(int)
    blended = target.decode(3, digits.SIDE).transpose(1, 2, 0).astype(int)
    patch = find_patch(blended, digit == 0)
    assert patch is not None, "no patch of the photographs fits the background"
    assert (blended == np.abs(digit[:, :, None] - patch)).all()


def find_patch(blended: np.ndarray, black: np.ndarray) -> np.ndarray | None:
    side = digits.SIDE
    rows, columns = np.nonzero(black)
    for photograph in load_sample_images().images:
        height, width = photograph.shape[:2]
        fits = np.ones((height - side + 1, width - side + 1), dtype=bool)
        for row, column in zip(rows[::7], columns[::7], strict=True):
            window = photograph[row : row + fits.shape[0], column : column + fits.shape[1]]
            fits &= (window == blended[row, column]).all(axis=2)
        for top, left in np.argwhere(fits):
            patch: np.ndarray = photograph[top : top + side, left : left + side].astype(int)
            if (patch[black] == blended[black]).all():
                return patch
    return None


def test_other_sides_are_scaled(source: Domain, target: Domain) -> None:
    for domain in (source, target):
        assert domain.decode(0, 16).shape == (3, 16, 16)
        assert domain.decode(0, 40).dtype == np.uint8
