"""Images that are no pictures: .npy, TIFF and PNG of any channels and 16 bits, from the file to the numbers."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import augaware
from augaware import lookup
from augaware.augment.crop import omega_to_box
from augaware.augment.pipeline import Pipeline
from augaware.checkpoint import Run
from augaware.data.base import Source, Unreadable
from augaware.data.centre import as_rgb, centre_crop, channel_moments
from augaware.data.decode import decode
from augaware.data.loader import open_source
from augaware.doctor import survey
from augaware.errors import RequestError
from augaware.frozen import freeze, load_encoder
from augaware.nets.base import build_encoder, with_channels
from augaware.pretrain import resume, start
from augaware.random import Draws
from augaware.reading import PICTURES, Reading
from augaware.recipe import DEFAULT_AUGMENT, Recipe
from small_runs import assert_same_run, start_and_kill

FIVE = Reading(5)
Array = np.ndarray[Any, Any]


def noise(*shape: int, kind: type = np.uint16, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, endpoint=True).astype(kind)


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(array: Array) -> bytes:
    """A 16-bit PNG of (H, W) or (H, W, C), which Pillow cannot write for C > 1."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if array.ndim == 2 else array.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(pages: Array) -> bytes:
    """Pages (P, H, W) by Pillow."""
    file = io.BytesIO()
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def cells(folder: Path, n: int = 24, classes: int = 2, channels: int = 5, side: int = 20) -> Path:
    """``n`` images of 12 bits in files of 16, class by class; the class is which channel is bright."""
    for i in range(n):
        x = noise(channels, side, side + 2 * (i % 3), seed=i) // 64
        x[i % classes] *= 3
        file = folder / f"class{i % classes}" / f"{i:03d}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, x)
    return folder


# --- files ---


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("by_columns", [False, True])
def test_an_array_is_its_planes_wherever_its_channels_stand(kind: type, by_columns: bool) -> None:
    x = noise(5, 9, 11, kind=kind)
    order = np.asfortranarray if by_columns else np.ascontiguousarray
    for array in (x, x.transpose(1, 2, 0), x.astype(x.dtype.newbyteorder(">"))):
        found = decode(npy(order(array)), reading=FIVE)
        assert found.dtype == (torch.uint8 if kind is np.uint8 else torch.uint16)
        assert np.array_equal(found.numpy(), x)
    assert np.array_equal(decode(npy(x[0]), reading=Reading(1)).numpy(), x[:1])


def test_png_of_16_bits_keeps_them() -> None:
    for channels in (1, 3, 4):
        x = noise(6, 7, channels)
        found = decode(png(x[:, :, 0] if channels == 1 else x), reading=Reading(channels))
        assert np.array_equal(found.numpy(), x.transpose(2, 0, 1))
    with pytest.raises(Unreadable, match="gray and alpha of 16 bits; save it as an array"):
        decode(png(noise(6, 7, 2)), reading=Reading(2))


def test_tiff_by_pillow_is_its_pages_and_by_tifffile_the_same() -> None:
    for kind in (np.uint8, np.uint16):
        x = noise(5, 9, 11, kind=kind)
        assert np.array_equal(decode(tiff(x), reading=FIVE).numpy(), x)
        assert np.array_equal(decode(tiff(x[:1]), reading=Reading(1)).numpy(), x[:1])
    tifffile = pytest.importorskip("tifffile", reason="the extra 'microscopy' is not installed")
    for x, axes in ((noise(5, 9, 11), "CYX"), (noise(9, 11, 5), "YXS"), (noise(1, 5, 1, 9, 11), "TCZYX")):
        file = io.BytesIO()
        tifffile.imwrite(file, x, photometric="minisblack", metadata={"axes": axes}, compression="zlib")
        expected = x.transpose(2, 0, 1) if axes == "YXS" else x.reshape(5, 9, 11)
        assert np.array_equal(decode(file.getvalue(), reading=FIVE).numpy(), expected), axes
    file = io.BytesIO()
    tifffile.imwrite(file, noise(9, 11, 3), photometric="rgb")
    assert np.array_equal(decode(file.getvalue(), reading=Reading(3)).numpy(), noise(9, 11, 3).transpose(2, 0, 1))
    file = io.BytesIO()
    tifffile.imwrite(file, noise(2, 5, 9, 11), photometric="minisblack", metadata={"axes": "ZCYX"})
    with pytest.raises(Unreadable, match=r"a TIFF of axes ZCYX and shape .*accepted: Y, X and one other"):
        decode(file.getvalue(), reading=FIVE)


def test_a_tiff_that_pillow_cannot_read_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(Unreadable, match=r"install tifffile: pip install 'augaware\[microscopy\]'"):
        decode(tiff(noise(5, 9, 11)), reading=Reading(2))


def test_pictures_read_as_they_are_have_the_pixels_of_pictures() -> None:
    x, file = noise(40, 50, 3, kind=np.uint8), io.BytesIO()
    Image.fromarray(x).save(file, "JPEG")
    for side in (None, 16):
        assert torch.equal(decode(file.getvalue(), side, Reading(3)), decode(file.getvalue(), side))
    gray = io.BytesIO()
    Image.fromarray(x[:, :, 0]).save(gray, "PNG")
    assert decode(gray.getvalue(), reading=Reading(1)).shape == (1, 40, 50)
    assert decode(gray.getvalue()).shape == (3, 40, 50)


def lying(kind: str, shape: str, body: int = 5) -> bytes:
    """An array whose header says what cannot be."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(body)


LYING = [("|u1", "(-1, -5)"), ("|u1", "(True, 5)"), ("|u1", "(9, 1 << 40)"), ("|u1", "(90000, 90000, 5)")]
REFUSED = [
    (npy(np.zeros((5, 9, 9), np.float32)), "float32 numbers; uint8 and uint16 are read, so scale these"),
    (npy(np.zeros((5, 9, 9), np.int16)), "int16 numbers"),
    (npy(np.zeros((5, 4, 5), np.uint8)), "which are the channels. both ends are as long"),
    (npy(np.zeros((4, 9, 5), np.uint8)), "its smaller end is 4, and 5 are asked for"),
    (npy(np.zeros((3, 9, 9), np.uint8)), "it holds 3 channels where channels=5"),
    (npy(np.zeros((2, 5, 9, 9), np.uint8)), "shape .2, 5, 9, 9.; accepted"),
    (npy(np.zeros((5, 9, 9), np.uint8))[:-1], "damaged array: 404 bytes where .* has 405"),
    (b"\x93NUMPY\x01\x00\x05\x00oops\n", "damaged array"),
    *((lying(kind, shape), "shape|damaged array") for kind, shape in LYING),
    (png(noise(4, 5)), "it holds 1 channel where channels=5"),
    (png(noise(4, 5, 3))[:60], "truncated|damaged"),
    (tiff(noise(1, 4, 5)), "it holds 1 channel where"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_is_not_of_the_kind_is_refused_in_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as refused:
        decode(content, reading=FIVE)
    assert "\n" not in str(refused.value)


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(Unreadable, match="Python objects"):
        decode(file, reading=Reading(1))


def test_a_range_and_a_short_side_are_what_numpy_says() -> None:
    x = noise(5, 30, 40)
    low, high = 1000, 5095
    stretched = np.rint(np.clip((x.astype(np.float64) - low) / (high - low), 0, 1) * 65535).astype(np.uint16)
    assert np.array_equal(decode(npy(x), reading=Reading(5, (low, high))).numpy(), stretched)
    small = decode(npy(x), 15, FIVE)
    assert small.shape == (5, 15, 20)
    eight = decode(npy((x // 256).astype(np.uint8)), 15, FIVE)
    assert (small.float() / 257 - eight.float()).abs().max() < 2


# --- sources ---


def test_folder_tar_and_store_give_the_same_pixels(tmp_path: Path) -> None:
    folder = cells(tmp_path / "cells", 9)
    np.save(folder / "class0" / "x_bytes.npy", noise(5, 9, 9, kind=np.uint8))
    np.save(folder / "class0" / "y_three.npy", noise(3, 9, 9))
    with tarfile.open(tmp_path / "cells.tar", "w") as archive:
        archive.add(folder, ".")
    opened: list[Source] = [
        open_source(str(folder), 12, 0, reading=FIVE),
        open_source(str(folder), 12, reading=FIVE),
        open_source(str(folder), 12, store=str(tmp_path / "store"), reading=FIVE),
        open_source(str(folder), 12, store=str(tmp_path / "store"), reading=FIVE),
        open_source(str(tmp_path / "cells.tar"), 12, reading=FIVE),
    ]
    index = torch.arange(9)
    truth = [np.load(folder / f"class{i % 2}" / f"{i:03d}.npy") for i in (0, 2, 4, 6, 8, 1, 3, 5, 7)]
    for source in opened:
        assert (source.channels, source.dtype, source.classes) == (5, torch.uint16, ("class0", "class1"))
        batch = source.batch(torch.tensor([*range(5), *range(len(source) - 4, len(source))]))
        for image, x in zip(batch.cut(), truth, strict=True):
            assert torch.equal(image, decode(npy(x), 12, FIVE))
        assert batch.pixels.shape == (9, 5, 12, int(batch.sizes[:, 1].max()))
    for source in opened[1:]:
        assert len(source) == len(index)
        assert [image.reason for image in source.skipped] == [
            "8 bits a channel, where class0/000.npy has 16",
            "it holds 3 channels where channels=5",
        ]
    assert augaware.check_store(tmp_path / "store") == []
    (pixels,) = (tmp_path / "store").glob("*/pixels.bin")
    content = bytearray(pixels.read_bytes())
    content[1000] ^= 1
    pixels.write_bytes(content)
    assert "is damaged" in augaware.check_store(tmp_path / "store")[0]


@pytest.mark.parametrize(("kind", "shape"), [*LYING, ("|V0", "(5, 5)"), ("|S0", "(5, 5)")])
def test_an_array_whose_header_lies_is_one_line_wherever_it_is_met(tmp_path: Path, kind: str, shape: str) -> None:
    (tmp_path / "a.npy").write_bytes(lying(kind, shape, 0 if kind[1] in "VS" else 5))
    for reading in (PICTURES, Reading(5)):
        with pytest.raises(RequestError, match=r"a\.npy(: | cannot be read: )(an array of shape|damaged array)"):
            open_source(str(tmp_path), reading=reading)


def test_arrays_that_were_to_be_pictures_say_what_to_do(tmp_path: Path) -> None:
    folder = cells(tmp_path / "cells", 2)
    with pytest.raises(
        RequestError, match=r"no pictures: class0/000.npy is an array of uint16 with 5 channels; "
    ) as told:
        open_source(str(folder))
    assert "--recipe 'multichannel(channels=5)'" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_of_pictures_is_as_it_was_whatever_arrays_lie_beside_them(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9, kind=np.uint8)).save(tmp_path / "gray.png")
    before = open_source(str(tmp_path))
    np.save(tmp_path / "mask.npy", noise(9, 9))
    after = open_source(str(tmp_path))
    assert (after.fingerprint, after.content, after.names) == (before.fingerprint, before.content, before.names)
    assert (after.channels, after.dtype, after.notes) == (3, torch.uint8, ())


@pytest.mark.parametrize(
    ("content", "said"),
    [(png(noise(9, 9)), "16 bits a channel"), (tiff(noise(4, 9, 9, kind=np.uint8)), "4 pages")],
)
def test_what_a_picture_does_not_show_is_said_once(tmp_path: Path, content: bytes, said: str) -> None:
    ending = "png" if content[:4] == b"\x89PNG" else "tif"
    for i in range(3):
        (tmp_path / f"{i}.{ending}").write_bytes(content)
    lines: list[str] = []
    source = open_source(str(tmp_path), say=lines.append)
    assert source.dtype == torch.uint8
    assert len(lines) == 1
    assert f"0.{ending} holds {said}, and is shown as RGB of 8 bits" in lines[0]
    channels = 4 if ending == "tif" else 1
    assert f"channels={channels} reads files as they are" in lines[0]


def test_a_source_without_files_has_the_channels_that_it_has() -> None:
    open_source("shapes(n=4)", reading=Reading(3))
    with pytest.raises(RequestError, match=r"^data 'shapes.*' has images of 3 channels as they are; channels=5"):
        open_source("shapes(n=4)", reading=FIVE)


def test_moments_are_numpys(tmp_path: Path) -> None:
    folder = cells(tmp_path, 8)
    found = channel_moments(open_source(str(folder), reading=FIVE), seed=0)
    flat = np.concatenate([np.load(file).reshape(5, -1) for file in folder.rglob("*.npy")], axis=1) / 65535
    np.testing.assert_allclose(found["mean"], flat.mean(1), atol=1e-6)
    np.testing.assert_allclose(found["std"], flat.std(1), atol=1e-6)


# --- views ---

AUGMENT = ("crop(scale=(0.2, 1.0))", "flip()", "rotate90()", "exposure(channels=5)", "gaussian_blur(p=0.5)")


@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_views_are_a_transcription_in_numpy(engine: str) -> None:
    x = torch.from_numpy(noise(8, 5, 16, 16))
    mean, std = np.linspace(0.1, 0.5, 5), np.linspace(0.2, 0.6, 5)
    pipeline = Pipeline.from_specs(("crop()", "flip()", "rotate90()", "exposure(channels=5)"), 8, mean, std, engine)
    sizes = torch.full((8, 2), 16)
    omega = pipeline.sample(Draws.of(0, 0, torch.arange(8), 0), sizes)
    boxes = torch.tensor([[0, 0, 16, 16], [4, 6, 8, 8], [0, 0, 8, 16], [8, 0, 8, 8]] * 2)
    omega["crop"] = torch.cat((boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].float()), 1) / 16
    assert torch.equal(omega_to_box(omega["crop"], sizes).long(), boxes)
    made = pipeline.apply(x, sizes, omega).image
    for image, view, (top, left, h, w), flip, turns, exposure in zip(
        x.numpy() / 65535, made, boxes.tolist(), omega["flip"], omega["rotate90"], omega["exposure"], strict=True
    ):
        part = image[:, top : top + h, left : left + w]
        for axis, length in ((1, h), (2, w)):  # antialiased by a triangle twice as wide as a pixel of the view
            weights = np.maximum(
                0, 1 - abs(np.arange(length) + 0.5 - (np.arange(8)[:, None] + 0.5) * length / 8) * 8 / length
            )
            part = np.moveaxis(np.tensordot(weights / weights.sum(1, keepdims=True), part, (1, axis)), 0, axis)
        part = part[:, :, ::-1] if flip else part
        part = np.rot90(part, int(turns), axes=(1, 2))
        gain, offset = 2.0 ** (2 * exposure[:5].numpy()), 0.1 * exposure[5:].numpy()
        part = np.clip(part * gain[:, None, None] + offset[:, None, None], 0, 1)
        np.testing.assert_allclose(view, (part - mean[:, None, None]) / std[:, None, None], atol=1e-4 / 0.2)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("exposure", ["exposure()", "exposure(channels=5)"])
def test_both_engines_make_the_same_views(kind: type, exposure: str) -> None:
    augment = [spec if spec[:8] != "exposure" else exposure for spec in AUGMENT]
    x, sizes, index = torch.from_numpy(noise(6, 5, 20, 23, kind=kind)), torch.full((6, 2), 20), torch.arange(6)
    one, other = (
        Pipeline.from_specs(augment, 12, [0.4] * 5, [0.2] * 5, engine).view(x, sizes, index, 0, 0, 0).image
        for engine in ("plain", "fused")
    )
    assert one.shape == (6, 5, 12, 12)
    torch.testing.assert_close(one, other, rtol=0, atol=5e-4)


def test_what_needs_rgb_says_so_before_the_images_are_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'color_jitter' needs images of 3 channels, these have 5; .*multichannel"):
        start(Recipe(data=str(tmp_path / "nowhere"), channels=5, device="cpu"), tmp_path / "run")
    lookup.build("recipes", "multichannel(channels=5)")
    assert not (tmp_path / "run").exists()
    assert any("color_jitter" in spec for spec in DEFAULT_AUGMENT)


@pytest.mark.parametrize("argument", ["gain=-1", "gain=9", "gain='x'", "offset=2", "channels=0", "channels=1.5"])
def test_a_wrong_exposure_is_refused(argument: str) -> None:
    with pytest.raises(RequestError, match=rf"^augmentation 'exposure': {argument.split('=')[0]}") as refused:
        lookup.build("augment", f"exposure({argument})", 12)
    assert "\n" not in str(refused.value)


def test_centre_crop_and_what_people_see_keep_the_channels() -> None:
    x = torch.from_numpy(noise(2, 5, 9, 9))
    assert torch.equal(centre_crop(x, 9), x.double().div(65535).float())
    dim = torch.from_numpy(noise(2, 5, 9, 9)).float() / 65535 / 50
    assert as_rgb(dim).shape == (2, 3, 9, 9)
    assert as_rgb(dim).max() == 1
    assert torch.equal(as_rgb(dim[:, :1])[:, 0], as_rgb(dim[:, :1])[:, 2])
    assert (as_rgb(dim[0, :2])[2] == 0).all()


# --- encoders ---


@pytest.mark.parametrize(
    ("spec", "wide"),
    [
        ("resnet18", "resnet18(channels=5)"),
        ("tiny(widths=(8, 16))", "tiny(widths=(8, 16), channels=5)"),
        ("vit_small(size=32)", "vit_small(size=32, channels=5)"),
        ("pixels", "pixels(channels=5)"),
        ("timm/resnet18", "timm/resnet18(channels=5)"),
        ("torchvision/resnet18(stem='cifar')", "torchvision/resnet18(stem='cifar', channels=5)"),
        ("torchvision/mobilenet_v3_small", "torchvision/mobilenet_v3_small(channels=5)"),
        ("branched('tiny')", "branched('tiny(channels=5)')"),
        ("invariant(codes=3)", "invariant(codes=3, encoder='resnet18(channels=5)')"),
    ],
)
def test_an_encoder_says_its_channels_and_has_them(spec: str, wide: str) -> None:
    assert with_channels(spec, 3) == spec
    assert with_channels(spec, 5) == wide == with_channels(wide, 5)
    assert build_encoder(wide).eval()(torch.zeros(2, 5, 32, 32)).shape[0] == 2
    with pytest.raises(RequestError, match="takes images of 5 channels, and those of the data have 4"):
        with_channels(wide, 4)


def test_a_replaced_convolution_keeps_the_spread_of_what_comes_out_of_it() -> None:
    usual, wide = (build_encoder(f"torchvision/resnet18(channels={n})").backbone.conv1.weight for n in (3, 12))
    assert abs(float((wide.std() / usual.std()).detach()) - 0.5) < 0.02
    with pytest.raises(RequestError, match="whole number"):
        build_encoder("timm/resnet18(channels=0)")


def test_weights_of_rgb_start_an_encoder_of_other_channels(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from augaware.initial import initialise

    f = build_encoder("tiny(widths=(8, 16))")
    save_file({k: v.contiguous() for k, v in f.backbone.state_dict().items()}, tmp_path / "f.safetensors")
    first = f.backbone[0][0].weight
    for n in (1, 2, 5):
        g = build_encoder(f"tiny(widths=(8, 16), channels={n})")
        initialise(g, str(tmp_path / "f.safetensors"))
        expected = first.sum(1, keepdim=True) if n == 1 else first[:, [0, 1, 2, 0, 1][:n]] * (3 / n)
        torch.testing.assert_close(g.backbone[0][0].weight, expected)
        assert torch.equal(g.backbone[1].conv1.weight, f.backbone[1].conv1.weight)
    with pytest.raises(RequestError, match="another shape"):
        load_encoder(str(tmp_path / "f.safetensors"), "tiny(widths=(8, 16), channels=5)", device="cpu")


# --- recipes ---


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channels": -1}, "channels=-1 must be at least 0"),
        ({"channels": 5, "mean": (0.1,) * 4, "std": (0.1,) * 5}, "mean=.* must be 5 numbers, one per channel"),
        ({"channels": 5, "mean": (0.1,) * 5}, "std=.* must be 5 numbers"),
        ({"pixel_range": (0, 4095)}, "pixel_range=.* of pixels that channels=n reads as they are"),
        ({"channels": 1, "pixel_range": (5, 5)}, "pixel_range="),
        ({"channels": 1, "pixel_range": (1, 2, 3)}, "pixel_range="),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        Recipe.from_fields({"data": "x", **fields})
    assert "\n" not in str(refused.value)


# --- end to end ---


def shown(file: Path) -> bool:
    """Whether a picture has colours, and is not all white but for its text."""
    with Image.open(file) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 500


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """Twenty steps on images of five channels, with an awareness of their exposure."""
    folder = tmp_path_factory.mktemp("channels")
    chosen = {
        "data": str(cells(folder / "data" / "cells" / "train")),
        "aware": ("augself(targets={'crop': 1.0, 'exposure': 1.0}, hidden=8)",),
        "encoder": "tiny(widths=(8, 16))",
        "host": "simclr(proj_hidden_dim=16, proj_output_dim=8)",
        "size": 12,
        "epochs": 10,
        "batch_size": 12,
        "device": "cpu",
        "precision": "fp32",
        "health_images": 8,
        "pixel_range": (0, 4095),
    }
    cells(folder / "data" / "cells" / "test", 12)
    recipe: Recipe = lookup.build("recipes", "multichannel(channels=5)").changed(chosen)
    start(recipe, folder / "run")
    return folder, recipe


def test_a_run_says_what_it_measured_and_how_files_are_read(run: tuple[Path, Recipe]) -> None:
    folder, recipe = run
    made = Run.open(folder / "run").recipe
    source = open_source(recipe.data, recipe.decoded_side, reading=recipe.reading)
    assert {"mean": made.mean, "std": made.std} == channel_moments(source, recipe.seed)
    assert made.encoder == "tiny(widths=(8, 16), channels=5)"
    config = json.loads((folder / "run" / "export" / "config.json").read_text())
    assert (config["channels"], config["pixel_range"], tuple(config["mean"])) == (5, [0, 4095], made.mean)
    assert "files as they are: 5 channels of 16 bits; mean 0.25" in (folder / "run" / "log.txt").read_text()
    assert shown(folder / "run" / "views.png")
    whole, alone = (
        load_encoder(str(folder / "run" / name), device="cpu") for name in ("", "export/encoder.safetensors")
    )
    for frozen in (whole, alone):
        assert (frozen.channels, frozen.reading, frozen.mean) == (5, Reading(5, (0, 4095)), made.mean)
        assert frozen.fingerprint == whole.fingerprint


def test_a_run_that_was_killed_is_the_same(run: tuple[Path, Recipe]) -> None:
    folder, recipe = run
    start_and_kill(recipe.changed({"store": str(folder / "store"), "checkpoint_seconds": 0}), folder / "killed", 13)
    resume(folder / "killed")
    one, two = (json.loads((folder / name / "recipe.json").read_text()) for name in ("run", "killed"))
    assert {k for k in one if one[k] != two[k]} == {"store", "checkpoint_seconds"}
    (folder / "killed" / "recipe.json").write_bytes((folder / "run" / "recipe.json").read_bytes())
    assert_same_run(folder / "killed", folder / "run", 20)


def test_tasks_and_analyses_are_put_to_it(run: tuple[Path, Recipe]) -> None:
    folder, recipe = run
    results = augaware.evaluate(str(folder / "run"), ["linear_probe('cells')", "knn('cells')"], data=folder / "data")
    assert [result["metrics"]["test"] > 0.8 for result in results] == [True, True]
    found = augaware.analyse(
        str(folder / "run"), ["retrieval_grid(k=3)", "sensitivity"], data=recipe.data, images=16, out=folder / "asked"
    )
    assert len(found) == 2
    assert list((folder / "asked" / "analysis").glob("*.png"))


def test_data_of_another_kind_is_refused_in_one_line(run: tuple[Path, Recipe]) -> None:
    folder, _ = run
    for i, split in enumerate(("train", "test")):
        for label in ("a", "b"):
            file = folder / "data" / "photos" / split / label / "x.png"
            file.parent.mkdir(parents=True)
            Image.fromarray(noise(9, 9, 3, kind=np.uint8, seed=i)).save(file)
    with pytest.raises(RequestError, match=r"x.png: it holds 3 channels where channels=5"):
        augaware.evaluate(str(folder / "run"), "knn('photos')", data=folder / "data")
    with pytest.raises(RequestError, match=r"^encoder 'run' takes images of 5 channels, those of 'shapes.*' have 3"):
        augaware.evaluate(str(folder / "run"), "knn('shapes')", data=folder / "data")
    with pytest.raises(RequestError, match=r"no pictures: .* with 5 channels"):
        augaware.evaluate("random/tiny", "knn('cells')", data=folder / "data", device="cpu")
    mine = freeze(torch.nn.Flatten(), size=4, mean=(0.5,) * 5, std=(0.2,) * 5)
    assert (mine.dim, mine.reading) == (80, FIVE)


def test_views_and_stores_of_such_images_are_made_by_command(run: tuple[Path, Recipe], tmp_path: Path) -> None:
    _, recipe = run
    chosen = {"channels": 5, "augment": AUGMENT}
    augaware.views(recipe.data, out=tmp_path / "views.png", count=2, size=12, set=chosen)
    assert shown(tmp_path / "views.png")
    assert augaware.store(recipe.data, out=tmp_path / "store", size=12, set={"channels": 5}).is_dir()


def test_the_doctor_counts_them(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "cells" / split).mkdir(parents=True)
        np.save(tmp_path / "cells" / split / "0.npy", noise(5, 9, 9))
    [row] = [row for row in survey(tmp_path) if row["name"] == "cells"]
    assert (row["state"], row["found"]) == ("present", {"train": 1, "test": 1})
