"""Classes from names, classifiers from files, and hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from pix2color.errors import DataError, WeightsError
from pix2color.evaluation import classifier
from pix2color.evaluation.classifier import UNKNOWN, Classifier, labels_of

LABELLED = Path(__file__).resolve().parents[2].parent / "shared" / "labelled"


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained mobilenet_v2 in half precision."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "some.safetensors"
    state = torchvision.models.mobilenet_v2().state_dict()
    save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    return path


def test_the_table_is_the_sorted_thousand() -> None:
    table = classifier.wordnet_classes()
    assert len(table) == 1000
    assert list(table) == sorted(table)
    known = {"n01440764": "tench", "n02123045": "tabby", "n15075141": "toilet tissue"}
    assert all(classifier.named_classes()[name] == table[i] for i, name in known.items())


def test_the_table_agrees_with_the_labelled_photos() -> None:
    if not LABELLED.is_dir():
        pytest.skip("needs ../shared/labelled")
    for path in LABELLED.glob("n*.jpg"):
        by_id = labels_of([path.name])[0]
        by_name = labels_of([f"{path.stem.partition('_')[2]}/1.jpg"])[0]
        assert by_id == by_name != UNKNOWN, path.name


def test_classes_come_from_files_then_from_folders() -> None:
    names = [
        "photos/n01443537_12.jpg",
        "photos/n01443537/12.jpg",
        "photos/goldfish/12.jpg",
        "photos/Great_White-Shark/deep/12.jpg",
        "goldfish/n01440764.png",
        "photos/n99999999_1.jpg",
        "photos/goldfish.jpg",
    ]
    assert labels_of(names).tolist() == [1, 1, 1, 2, 0, UNKNOWN, UNKNOWN]


def test_a_name_of_two_classes_is_taken_as_it_is_spelled_or_refused() -> None:
    jacket, dog = wordnet_index("n02963159"), wordnet_index("n02113186")
    names = [
        "cardigan/1.jpg",
        "Cardigan/1.jpg",
        "n02113186_Cardigan/1.jpg",
        "CARDIGAN/n02113186.jpg",
    ]
    assert labels_of(names).tolist() == [jacket, dog, dog, dog]
    with pytest.raises(DataError, match=r"'CARDIGAN'.*n02113186 or n02963159"):
        labels_of(["goldfish/1.jpg", "CARDIGAN/1.jpg"])


def wordnet_index(wordnet_id: str) -> int:
    return classifier.wordnet_classes()[wordnet_id]


def test_photos_without_any_class_are_an_error() -> None:
    with pytest.raises(DataError, match="n01443537 or goldfish"):
        labels_of(["photos/holiday.jpg"])


def test_a_file_is_recognized_by_its_keys(weights_file: Path, rgb: Tensor) -> None:
    model = Classifier(weights_file)
    assert model.name == "mobilenet_v2 (some.safetensors)"
    best = model.topk(rgb)
    assert best.shape == (4, 5)
    first, five = model.topk_correct(rgb, [int(best[0, 0]), int(best[1, 3]), UNKNOWN, -2])
    assert first[:2].tolist() == [1, 0]
    assert five[:2].tolist() == [1, 1]
    assert first[2].isnan() and five[2].isnan()
    assert (first[3], five[3]) == (0, 0)


def test_other_weights_and_names_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="known torchvision classifier"):
        Classifier(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="no weights file"):
        Classifier(tmp_path / "missing.safetensors")
    with pytest.raises(WeightsError, match="neither a file nor one of torchvision's"):
        Classifier("mobilnet")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_classes_are_those_of_torchvision_s_own_preparation(
    name: str, photos: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Random weights from a file, and torchvision's network and transforms beside them."""
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name).eval()
    for module in whole.modules():  # so that no class wins whatever the photo
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.normal_(std=0.3)
    save_file(whole.state_dict(), tmp_path / "net.safetensors")
    prepare = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    model = Classifier(tmp_path / "net.safetensors")
    for photo in photos.values():
        seen: list[Tensor] = []
        hook = register_module_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
        best = model.topk(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)[0]
        hook.remove()
        wanted = prepare(Image.fromarray(photo))[None]
        assert float((seen[0] - wanted).abs().mean()) < 0.15  # size and crop may round by a pixel
        with torch.no_grad():
            assert torch.equal(best, whole(seen[0])[0].topk(5).indices)


@pytest.mark.slow
def test_the_shared_classifier_reads_labelled_photos(shared_weights: Path) -> None:
    if not LABELLED.is_dir():
        pytest.skip("needs ../shared/labelled")
    model = Classifier(shared_weights / "mobilenet_v2_imagenet.safetensors")
    paths = sorted(LABELLED.glob("n*.jpg"))[:40]
    hits = []
    for path, label in zip(paths, labels_of([p.name for p in paths]), strict=True):
        photo = np.array(Image.open(path).convert("RGB"))
        rgb = torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0) / 255
        hits.append(float(model.topk_correct(rgb, [int(label)])[0]))
    assert np.mean(hits) > 0.6
