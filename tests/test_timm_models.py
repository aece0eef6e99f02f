"""timm's model files, as they are written, with gpunet under the name of torch.

The files are taken from the installed wheel and run, but for those that register models and load their weights. Each
network is compared with the same one of PyTorch, with the same random weights: names, logits and gradients.
"""

import ast
import functools
import importlib
import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import models
from gpunet.weights import load_weights
from tests.under_torch_s_name import check_network, importing, modules_of_gpunet, modules_of_pytorch, stand_in

torch = pytest.importorskip("torch")
SPEC = importlib.util.find_spec("timm")
if SPEC is None:
    pytest.skip("timm is not installed: pip install 'gpunet[timm]'", allow_module_level=True)
ROOT = Path(SPEC.origin).parent
pytestmark = pytest.mark.usefixtures("torch")  # on one thread


class Package(types.ModuleType):
    """A package of timm that imports a file when a name of it is asked for, where its own __init__ imports all."""

    def __init__(self, name):
        super().__init__(name)
        folder = ROOT.joinpath(*name.split(".")[1:])
        imports = [each for each in ast.walk(ast.parse((folder / "__init__.py").read_text())) if hasattr(each, "level")]
        self.__path__ = [str(folder)]
        self.file_of = {alias.asname or alias.name: each.module for each in imports for alias in each.names}

    def __getattribute__(self, name):
        file_of = object.__getattribute__(self, "__dict__").get("file_of", {})
        if name not in file_of:
            return object.__getattribute__(self, name)
        return getattr(importlib.import_module(f"{self.__name__}.{file_of[name]}"), name)


def build(model, variant, pretrained, model_cfg=None, **settings):
    """What timm's builder does where no weights are asked for."""
    for name in ("feature_cfg", "features_only", "pretrained_filter_fn", "pretrained_strict", "kwargs_filter"):
        settings.pop(name, None)
    return model(**({} if model_cfg is None else {"cfg": model_cfg}), **settings)


def itself(value, *args, **kwargs):
    return value


def anything(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return itself


STAND_INS = {
    "timm.data": {"__getattr__": anything},
    "timm.models._builder": {"build_model_with_cfg": build, "pretrained_cfg_for_features": itself},
    "timm.models._features_fx": {"__getattr__": anything},
    "timm.models._helpers": {"__getattr__": anything},
    "timm.models._registry": {"__getattr__": anything},
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.ops.misc": {"FrozenBatchNorm2d": type("FrozenBatchNorm2d", (), {})},
}


@functools.cache
def under_torch_s_name(library):
    """All modules that the files may find; what they have imported is kept there."""
    of_timm = {name: Package(name) for name in ("timm", "timm.layers", "timm.models")}
    torch_s = modules_of_gpunet() if library == "gpunet" else modules_of_pytorch()
    return {**torch_s, **of_timm, **{name: stand_in(name, names) for name, names in STAND_INS.items()}}


def network_of(library, file, name):
    with importing(under_torch_s_name(library)):
        return getattr(importlib.import_module(f"timm.models.{file}"), name)(num_classes=10)


QUICK = ("resnet18", "mobilenetv3_small_050", "skresnet18")
MODELS = [
    *[
        ("resnet", name)
        for name in ("resnet18", "resnet50d", "seresnet50", "ecaresnet26t", "resnetrs50", "resnetblur50")
    ],
    *[("resnetv2", "resnetv2_50"), ("resnetv2", "resnetv2_50x1_bit"), ("vgg", "vgg11_bn")],
    *[("densenet", "densenet121"), ("densenet", "densenetblur121d")],
    *[
        ("efficientnet", name)
        for name in ("efficientnet_b0", "tf_efficientnet_b0", "efficientnetv2_rw_t", "mnasnet_100")
    ],
    *[("efficientnet", name) for name in ("mobilenetv2_100", "mixnet_s")],
    *[("mobilenetv3", name) for name in ("mobilenetv3_small_050", "mobilenetv3_large_100", "mobilenetv4_conv_small")],
    *[("res2net", "res2net50_26w_4s"), ("res2net", "res2next50"), ("resnest", "resnest14d"), ("sknet", "skresnet18")],
    *[("senet", "legacy_seresnet18"), ("selecsls", "selecsls42"), ("dpn", "dpn48b"), ("dpn", "dpn68")],
    *[("vovnet", "vovnet39a"), ("vovnet", "ese_vovnet19b_dw"), ("hrnet", "hrnet_w18_small"), ("rexnet", "rexnet_100")],
    *[("ghostnet", "ghostnet_100"), ("ghostnet", "ghostnetv2_100"), ("xception_aligned", "xception41")],
    *[("inception_v4", "inception_v4"), ("inception_resnet_v2", "inception_resnet_v2")],
    *[("cspnet", "cspresnet50"), ("cspnet", "cspdarknet53"), ("nfnet", "nfnet_l0"), ("nfnet", "nf_resnet26")],
    *[
        ("repghost", "repghostnet_050"),
        ("repvit", "repvit_m0_9"),
        ("hgnet", "hgnet_tiny"),
        ("fasternet", "fasternet_t0"),
    ],
    *[("convmixer", "convmixer_768_32"), ("hardcorenas", "hardcorenas_a"), ("starnet", "starnet_s1")],
    *[("inception_next", "inception_next_atto"), ("metaformer", "poolformer_s12"), ("lcnetv2", "lcnetv2_base")],
    *[("mambaout", "mambaout_femto"), ("convnext", "convnext_atto"), ("convnext", "convnextv2_atto")],
    *[("regnet", "regnetx_002"), ("regnet", "regnety_002"), ("dla", "dla34"), ("byobnet", "repvgg_a0")],
    *[("byobnet", "gernet_s"), ("byobnet", "mobileone_s0"), ("tresnet", "tresnet_m"), ("xception", "legacy_xception")],
    *[("rdnet", "rdnet_tiny"), ("edgenext", "edgenext_xx_small"), ("focalnet", "focalnet_tiny_srf")],
    *[("mobilevit", "mobilevit_xxs"), ("swiftformer", "swiftformer_xs"), ("shvit", "shvit_s1")],
]


@pytest.mark.parametrize(
    ("file", "name"),
    [pytest.param(*each, id=each[1], marks=() if each[1] in QUICK else pytest.mark.slow) for each in MODELS],
)
def test_a_network_is_that_of_pytorch(file, name):
    torch.manual_seed(0)
    ours, theirs = network_of("gpunet", file, name), network_of("pytorch", file, name)
    check_network(ours, theirs, torch, 128 if file.startswith("inception_") else 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "make"),
    [
        ("resnet", "resnet50", models.resnet50),
        ("resnet", "resnext50_32x4d", models.resnext50_32x4d),
        ("vgg", "vgg11_bn", models.vgg11_bn),
        ("densenet", "densenet121", models.densenet121),
        ("efficientnet", "mobilenetv2_100", models.mobilenet_v2),
        ("convnext", "convnext_tiny", models.convnext_tiny),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_timm_s_weights_fit_our_networks(file, name, make, tmp_path, numpy_backend):
    torch.manual_seed(0)
    theirs, ours = network_of("pytorch", file, name).eval(), make(num_classes=10).eval()
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    assert load_weights(tmp_path / "timm.pth", ours).fits
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad(), gpunet.no_grad():
        np.testing.assert_allclose(ours(gpunet.tensor(x)).numpy(), theirs(x).numpy(), rtol=1e-4, atol=1e-4)
