"""Which values become black and white: never a silent clip, the same wherever a file is read."""

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samkit.errors import ConfigError, ImageError
from samkit.formats import ValueRange, read_image, read_image_bytes, to_uint8
from samkit.formats.value_range import percentiles

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", ">u2", ">i2")


def scene(seed=0):
    """Values in 0..255 of an image with a dark and a light half."""
    values = np.random.default_rng(seed).normal(60, 5, (40, 60))
    values[:, 30:] += 130
    return values.clip(0, 255)


def contrast(rgb):
    """Mean of the light half less that of the dark one."""
    return float(rgb[:, 30:].mean()) - float(rgb[:, :30].mean())


# Pictures of the same scene as real programs store it: case 07.
STORED = {
    "12 bits in 16": (scene() * 16).astype(np.uint16),
    "100..610": (scene() * 2 + 100).astype(np.uint16),
    "8 bits in 16": scene().astype(np.uint16),
    "CT": (scene() * 8 - 1000).astype(np.int16),
    "counts": (scene() * 1000).astype(np.uint32),
    "signed 32": (scene() * 70_000 - 9_000_000).astype(np.int32),
    "signed 8": (scene() / 4 - 30).astype(np.int8),
    "kelvin": (scene() / 10 + 280).astype(np.float32),
    "floats of 0..255": scene(),
    "int64": scene().astype(np.int64),
}


@pytest.mark.parametrize("kind", STORED)
def test_values_that_do_not_use_their_range_are_stretched_and_told(kind, notices):
    values = STORED[kind]
    rgb = read_image(values)
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert contrast(rgb) > 150
    (line,) = notices()
    lowest, highest = float(values.min()), float(values.max())
    assert f"from {lowest:g} to {highest:g}" in line
    assert "0.1% and 99.9%" in line
    assert "--range" in line


@pytest.mark.parametrize("kind", [kind for kind in STORED if kind != "int64"])
def test_a_file_is_read_as_its_array_by_path_and_by_content(kind, tmp_path, notices):
    values = STORED[kind]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values)
    expected = read_image(values)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image_bytes(path.read_bytes(), "a.tif"), expected)
    assert any(str(path) in line for line in notices())


@pytest.mark.parametrize("kind", STORED)
def test_stretched_colours_keep_their_hue(kind):
    """All colours are stretched alike: what is gray stays gray."""
    values = STORED[kind]
    assert (read_image(np.dstack([values] * 3)) == read_image(values)).all()


def test_sixteen_bits_that_are_used_stay_as_they_are(notices):
    full = (scene() * 257).astype(np.uint16)
    np.testing.assert_array_equal(read_image(full), read_image(full, value_range="full"))
    np.testing.assert_array_equal(read_image(full)[..., 0], np.rint(full / 257))
    assert notices() == []


def test_a_hot_pixel_does_not_hide_that_twelve_bits_are_used(notices):
    values = STORED["12 bits in 16"].copy()
    values[0, 0] = 65535
    assert contrast(read_image(values)) > 150
    assert len(notices()) == 1


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_an_even_image_of_sixteen_bits_keeps_its_brightness(value, notices):
    even = np.full((4, 5), value, np.uint16)
    assert (read_image(even) == round(value / 257)).all()
    assert notices() == []


def test_few_pixels_that_differ_from_all_others_are_seen():
    values = np.zeros((100, 100), np.uint16)
    values[50, 50] = 7
    assert read_image(values)[50, 50].tolist() == [255, 255, 255]


@given(st.integers(0, 2**32 - 1))
def test_eight_bits_are_never_changed(seed):
    gray = np.random.default_rng(seed).integers(0, 90, (5, 6), np.uint8)
    for choice in ("auto", "full", (0, 40), "1%,99%"):
        assert (read_image(gray, value_range=choice)[..., 0] == gray).all()
        assert (read_image(gray > 40, value_range=choice)[..., 0] == 255 * (gray > 40)).all()


def test_floats_of_0_to_1_stay_as_they_are(notices):
    assert read_image(np.array([[0, 0.1]])).max() == 26
    assert notices() == []


def test_missing_values_are_black_and_told(notices):
    values = scene().astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    rgb = read_image(values)
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[0, 1].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(rgb[1:], read_image(scene().astype(np.float32))[1:])
    assert "2 values are NaN or infinite" in notices()[0]


def test_chosen_values_are_the_same_for_all_images(notices):
    dark = np.array([[0, 1000, 4095, 5000]], np.uint16)
    for values in (dark, dark[:, :2], dark.astype(np.int32), dark.astype(np.float32)):
        seen = read_image(values, value_range="0,4095")[0, :, 0]
        assert seen.tolist() == [0, 62, 255, 255][: values.shape[1]]
    assert notices() == []  # it was asked for


def test_chosen_percentiles():
    values = np.arange(1001, dtype=np.uint16).reshape(1, -1)
    seen = read_image(values, value_range="10%,90%")[0, :, 0]
    assert seen[100] == 0
    assert seen[101] == 0
    assert seen[500] == 127
    assert seen[900] == 255
    assert (seen[900:] == 255).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int8])
def test_full_range_of_a_type(dtype):
    info = np.iinfo(dtype)
    ends = np.array([[info.min, info.max]], dtype)
    assert read_image(ends, value_range="full")[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.float32, torch.bfloat16])
def test_tensors_are_stretched_like_arrays(dtype):
    tensor = torch.from_numpy(scene() * 8 - 500).to(dtype)
    assert contrast(read_image(tensor)) > 150
    as_float = tensor.float() if dtype == torch.bfloat16 else tensor
    np.testing.assert_array_equal(read_image(tensor), read_image(as_float.numpy()))


def test_transparency_is_not_stretched():
    values = np.zeros((40, 60, 4), np.uint16)
    values[..., :3] = STORED["12 bits in 16"][..., None]
    values[..., 3] = 65535
    values[:10, :, 3] = 0
    rgb = read_image(values)
    assert (rgb[:10] == 255).all()
    np.testing.assert_array_equal(rgb[10:], read_image(values[..., :3])[10:])


# --- Laws ---


@given(st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_order_of_values_is_kept(dtype, seed):
    """A lighter value is never seen darker, whatever its type and the range."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(0, 1, (6, 7)) * 10 ** rng.uniform(0, 2)).astype(np.float32)
    values = values.clip(-100, 100).astype(dtype) if "u" not in dtype else abs(values).astype(dtype)
    order = np.argsort(values.ravel(), kind="stable")
    for choice in ("auto", "1%,99%", (-20, 30)):
        seen = read_image(values, value_range=choice)[..., 0].ravel().astype(int)
        assert (np.diff(seen[order]) >= 0).all()


@given(st.integers(-3000, 3000), st.integers(1, 20))
def test_offset_and_scale_of_signed_values_do_not_matter(offset, scale):
    values = np.rint(scene()).astype(np.int32)
    np.testing.assert_array_equal(read_image(values * scale + offset), read_image(values))


@given(arrays(np.uint16, (5, 7)), st.lists(st.floats(0, 100), min_size=1, max_size=4))
def test_counted_percentiles_are_those_of_numpy(values, percents):
    expected = np.percentile(values, percents, method="inverted_cdf")
    np.testing.assert_array_equal(percentiles(values, percents), expected)


@given(arrays(np.int16, (3, 4)), st.sampled_from([(-300, 500), (0, 1), (-40000, 40000)]))
def test_tables_give_what_arithmetic_gives(values, limits):
    low, high = limits
    exact = np.rint((values.astype(float) - low) * (255 / (high - low)))
    np.testing.assert_array_equal(to_uint8(values, limits), exact.clip(0, 255))


# --- Choices ---


@pytest.mark.parametrize(
    "text", ["auto", "full", "0.0,4095.0", "-1000.0,400.0", "1.0%,99.5%", "1e-05,0.5"]
)
def test_text_of_a_range_makes_the_same_range(text):
    assert str(ValueRange.of(text)) == text
    assert ValueRange.of(ValueRange.of(text)) == ValueRange.of(text)


def test_ways_to_write_a_range():
    assert ValueRange.of((0, 4095)) == ValueRange.of("0,4095") == ValueRange.of(" 0 , 4095 ")
    assert ValueRange.of("1%, 99%") == ValueRange("percentiles", 1, 99)


@pytest.mark.parametrize(
    "choice",
    [
        "",
        "Auto",
        "0",
        "0,",
        "1%,99",
        "5,5",
        "9,1",
        "-1%,50%",
        "0%,101%",
        "nan,1",
        (1, 2, 3),
        5,
        (0, np.inf),
    ],
)
def test_what_is_no_range_is_refused(choice, refusal):
    with refusal(ConfigError, "range of values"):
        ValueRange.of(choice)


def test_notices_are_few_and_counted(notices, tmp_path):
    for number in range(12):
        tifffile.imwrite(tmp_path / f"{number}.tif", STORED["CT"])
        for _ in range(3):  # each file counts once
            read_image(tmp_path / f"{number}.tif")
    lines = notices()
    assert len(lines) == 4
    assert [f"{number}.tif" in line for number, line in enumerate(lines)] == [True] * 3 + [False]
    assert lines[3] == "10 images so far were stretched, as told of the first 3"


def test_floats_outside_of_the_full_range_name_the_file(tmp_path, refusal):
    tifffile.imwrite(tmp_path / "a.tif", STORED["kelvin"])
    with refusal(ImageError, f"{tmp_path / 'a.tif'}: floats of the full range lie in [0, 1]"):
        read_image(tmp_path / "a.tif", value_range="full")


# --- Values of no data ---


def with_hole(values, missing):
    """The values with a hole of a tenth of the pixels."""
    holed = values.copy()
    holed[:4] = missing
    return holed


HOLES = {
    "elevation": ("kelvin", -9999),
    "CT": ("CT", -32768),
    "12 bits": ("12 bits in 16", 65535),
    "float32": ("kelvin", -3.4028234663852886e38),
    "within the values": ("12 bits in 16", 500),
    "zero": ("12 bits in 16", 0),
}


@pytest.mark.parametrize("case", HOLES)
def test_values_that_a_file_calls_missing_are_black_and_do_not_stretch(case, tmp_path, notices):
    kind, missing = HOLES[case]
    values = with_hole(STORED[kind], missing)
    tag = (42113, "s", 0, f"{missing!r}", True)
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[tag])
    rgb = read_image(tmp_path / "a.tif")
    assert (rgb[:4] == 0).all()
    np.testing.assert_array_equal(rgb[4:], read_image(STORED[kind][4:]))
    (line, _) = notices()
    assert f"{missing:g}, by its tag GDAL_NODATA, is left out and black" in line
    assert "0.1% and 99.9%" in line


@pytest.mark.parametrize("case", ["elevation", "CT", "12 bits", "float32"])
def test_a_lone_value_far_from_all_others_does_not_stretch_and_is_told(case, notices):
    kind, missing = HOLES[case]
    rgb = read_image(with_hole(STORED[kind], missing))
    np.testing.assert_array_equal(rgb[4:], read_image(STORED[kind][4:]))
    assert (rgb[:4] == (0 if missing < 0 else 255)).all()
    assert f"{missing:g}, far from all others, is left out" in notices()[0]


def test_reflectance_with_missing_values_keeps_its_full_range(notices):
    reflectance = scene() / 255
    rgb = read_image(with_hole(reflectance, -9999))
    np.testing.assert_array_equal(rgb[4:], read_image(reflectance[4:]))
    assert "-9999, far from all others, is left out" in notices()[0]


@pytest.mark.parametrize("most", [3000, 40000])
def test_light_that_is_far_from_the_rest_is_seen(most):
    """An object of one value before a dark noisy ground is no missing value."""
    values = (scene() / 10).astype(np.uint16)
    values[:4] = most
    rgb = read_image(values)
    assert rgb[:4].min() > 5 * rgb[4:].max()


def test_colours_are_missing_where_all_of_them_are(tmp_path):
    values = np.dstack([STORED["CT"]] * 3)
    values[:4], values[5, 5, 0] = -9999, -9999
    tag = (42113, "s", 0, "-9999", True)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=[tag])
    rgb = read_image(tmp_path / "a.tif")
    assert (rgb[:4] == 0).all()
    assert rgb[5, 5, 1] > 0


def test_an_image_without_data_is_black_and_told(tmp_path, notices):
    tag = (42113, "s", 0, "-9999", True)
    tifffile.imwrite(tmp_path / "a.tif", np.full((9, 8), -9999, np.float32), extratags=[tag])
    assert (read_image(tmp_path / "a.tif") == 0).all()
    assert "no pixel has data" in notices()[0]


@pytest.mark.parametrize("text", ["nan", "none", "70000", "0.5"])
def test_tags_that_name_no_value_of_the_type_do_not_matter(text, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STORED["CT"], extratags=[(42113, "s", 0, text, True)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), read_image(STORED["CT"]))


def test_eight_bits_stay_as_they_are_whatever_the_tag(tmp_path):
    gray = scene().astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", gray, extratags=[(42113, "s", 0, "60", True)])
    assert (read_image(tmp_path / "a.tif")[..., 0] == gray).all()
