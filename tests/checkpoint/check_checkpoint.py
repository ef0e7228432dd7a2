"""What make_checkpoint writes, read by the formats' own packages and compared bit for bit with what fpf reads there.

Run by hand: python tests/checkpoint/check_checkpoint.py MAKE_CHECKPOINT AUTOAWQ CHECKPOINT...
where AUTOAWQ is the unpacked autoawq 0.2.9 source (only awq/utils/packing_utils.py is used). fpf's own reading of a
checkpoint is had by `MAKE_CHECKPOINT --from CHECKPOINT --quant none`, in the type in which its format dequantises.
Needs torch 2.11.0, transformers 5.17.0, bitsandbytes 0.50.2, accelerate 1.15.0, safetensors 0.8.0, and gptqmodel 7.7.0
installed without dependencies (it imports pypcre, logbar, device-smi, tokenicer, defuser, threadpoolctl, dill, protobuf,
pillow).

Results, on the CPU, all bits equal. SmolLM2-135M-Instruct (from Q4_1, calibrated, groups of 64): AWQ, GPTQ and GPTQ with
--desc-act 210 layers of 106168320 weights each by AutoAWQ and GPTQModel; NF4 the same by bitsandbytes, and all 273 modules
as transformers loads the checkpoint. synthetic:qwen3-moe-tiny (from quant=none): AWQ, GPTQ (groups of 64; whole columns
with --symmetric) and NF4 600 layers each. transformers 5 keeps a layer's experts in one tensor and loads no quantised
ones, whoever wrote them: it reads the 57 modules besides; transformers 4.57.3 (with huggingface-hub below 1 and
tokenizers below 0.23) reads all 633.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # bitsandbytes compiles its portable operations otherwise

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def tensors_of(folder):
    out = {}
    for shard in sorted(folder.glob("*.safetensors")):
        out |= load_file(shard)
    return out


def layers_of(tensors, suffix):
    return sorted(name.removesuffix(suffix) for name in tensors if name.endswith(suffix))


def by_autoawq(tensors, config, packing):
    for layer in layers_of(tensors, ".qweight"):
        qweight, qzeros, scales = (tensors[f"{layer}.{part}"] for part in ("qweight", "qzeros", "scales"))
        group = config["group_size"] if config["group_size"] != -1 else qweight.shape[0]
        yield layer, packing.dequantize_gemm(qweight, qzeros, scales, config["bits"], group).T


def by_gptqmodel(tensors, config):
    from gptqmodel.nn_modules.qlinear import PackableQuantLinear
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    assert config["checkpoint_format"] == "gptq"
    for layer in layers_of(tensors, ".qweight"):
        parts = {part: tensors[f"{layer}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx")}
        module = TorchLinear(bits=config["bits"], group_size=config["group_size"], sym=config["sym"], desc_act=config["desc_act"],
                             in_features=parts["g_idx"].shape[0], out_features=parts["scales"].shape[1])
        module.load_state_dict(parts)
        convert_gptq_v1_to_v2_format_module(module, config["bits"], torch.int32)
        module.post_init()
        yield layer, PackableQuantLinear.dequantize_weight(module).T


def by_bitsandbytes(tensors):
    import bitsandbytes.functional as bnb

    for layer in layers_of(tensors, ".weight.quant_map"):
        name = f"{layer}.weight"
        state = {key.removeprefix(name + "."): value for key, value in tensors.items() if key.startswith(name + ".")}
        yield layer, bnb.dequantize_4bit(tensors[name], bnb.QuantState.from_dict(state, device=torch.device("cpu")))


def by_transformers(folder):
    """The model as transformers loads it: 4-bit layers dequantised by bitsandbytes, everything else as it is."""
    import bitsandbytes as bnb

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="cpu")
    for name, module in model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            yield name, bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(getattr(module, "weight", None), torch.Tensor):
            yield name, module.weight.data


def compare(what, layers, dense):
    layers, tied = list(layers), "lm_head.weight" not in dense
    for name, weight in layers:
        own = dense["model.embed_tokens.weight" if name == "lm_head" and tied else f"{name}.weight"]
        assert weight.dtype == own.dtype and weight.shape == own.shape, (name, weight.dtype, own.dtype, weight.shape)
        bits = {2: torch.int16, 4: torch.int32}[own.element_size()]
        if different := int((weight.contiguous().view(bits) != own.contiguous().view(bits)).sum()):
            sys.exit(f"{what}: {name} differs in {different} of {own.numel()} weights")
    assert layers, what
    print(f"  {what}: {len(layers)} layers, {sum(weight.numel() for _, weight in layers)} weights, all bits equal")


def check(make_checkpoint, packing, folder):
    quantization = json.loads((folder / "config.json").read_text())["quantization_config"]
    method = quantization["quant_method"]
    dtype = AutoConfig.from_pretrained(folder).dtype if method == "bitsandbytes" else torch.float16
    print(f"{folder.name} ({method}, {dtype})")
    with tempfile.TemporaryDirectory() as plain:
        subprocess.run([make_checkpoint, "--from", folder, "--quant", "none", "--dtype", str(dtype).removeprefix("torch."),
                        "--to", plain, "--quiet"], check=True, stderr=subprocess.DEVNULL)
        dense = tensors_of(pathlib.Path(plain))
    tensors = tensors_of(folder)
    if method == "awq":
        compare("AutoAWQ's packing_utils", by_autoawq(tensors, quantization, packing), dense)
    elif method == "gptq":
        compare("GPTQModel's TorchLinear", by_gptqmodel(tensors, quantization), dense)
    else:
        compare("bitsandbytes", by_bitsandbytes(tensors), dense)
        compare("transformers", by_transformers(folder), dense)
    if (folder / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.decode(tokenizer("Grüße, 世界!").input_ids) == "Grüße, 世界!"


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("packing", pathlib.Path(sys.argv[2]) / "awq/utils/packing_utils.py")
    packing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(packing)
    for name in sys.argv[3:]:
        check(sys.argv[1], packing, pathlib.Path(name))
