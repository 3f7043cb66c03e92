"""A GPU that does not exist: tensors on "cuda" that live on the processor, with a GPU's rules.

Within `pretended_gpu()` the device "cuda" can be used. Its tensors are of a subclass that is kept
by every operation, and what would fail on a GPU fails: an operation on tensors of both devices
(but of numbers of no dimension on the processor), a generator of the other device, ``numpy()``
of a tensor there, the state of one device's generator given to the other's. What is computed is
what the processor computes; how long something takes and which operations wait is not seen.
"""

import dataclasses
import warnings
from contextlib import contextmanager, suppress
from types import FunctionType
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["GPU", "There", "pretended_gpu", "travelled"]

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
MEMORY = 2**37
MARK = torch.tensor([77], dtype=torch.uint8)
GET = "__get__"
#: functions that take no numbers of the other device, not even of no dimension
STRICT = {torch.cat, torch.stack, torch.matmul, torch.addmm, torch.mm, torch.hstack, torch.vstack}
#: functions that may meet tensors of the other device
TRAVELS = {
    Tensor.to, Tensor.cpu, Tensor.copy_, Tensor.type_as, Tensor.__setitem__, torch.as_tensor,
    torch.tensor, Tensor.__repr__, Tensor.data.__set__, Tensor.grad.__set__,
    torch._has_compatible_shallow_copy_type,
}  # fmt: skip


class There(Tensor):
    """A tensor that pretends to be on the GPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _called(func, args, kwargs or {})


class _Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return _called(func, args, kwargs or {})


def _tensors(value):
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _wrapped(value):
    if isinstance(value, There):
        return value
    if isinstance(value, Tensor):
        return value.as_subclass(There)
    if isinstance(value, list | tuple):
        new = [_wrapped(one) for one in value]
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    return value


def _plain(value):
    return value.as_subclass(Tensor) if isinstance(value, There) else value


def _is_gpu(value):
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, torch.device) and value.type == "cuda"


def _is_device(value):
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "meta")
    )


def _mixed(func, args, kwargs):
    """Whether an operation meets tensors of both devices that it may not mix."""
    every = list(_tensors([args, kwargs]))
    there = [t for t in every if isinstance(t, There)]
    here = [t for t in every if not isinstance(t, There)]
    if not there or not here or func in TRAVELS:
        return False
    if func is Tensor.__getitem__ and isinstance(args[0], There):
        return False  # an index may be on the processor
    return any(t.dim() for t in here) or func in STRICT or func is Tensor.__getitem__


def _called(func, args, kwargs):
    name = getattr(func, "__name__", "")
    every = list(_tensors([args, kwargs]))
    there = any(isinstance(t, There) for t in every)
    if name == GET and there:
        owner = getattr(func, "__self__", None)
        if owner is Tensor.device:
            return GPU
        if owner in (Tensor.is_cuda, Tensor.is_cpu):
            return owner is Tensor.is_cuda
    if there and func in (Tensor.numpy, Tensor.__array__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
    if func is Tensor.__deepcopy__ and there:
        return _copied(*args)
    if _mixed(func, args, kwargs):
        shapes = [(tuple(t.shape), "cuda" if isinstance(t, There) else "cpu") for t in every]
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {func.__name__}, {shapes}"
        )
    own, args, kwargs = _destination(func, args, kwargs, there)
    rng = kwargs.get("generator")
    if rng is not None and rng.device.type != ("cuda" if own else "cpu"):
        wanted = "cuda" if own else "cpu"
        raise RuntimeError(
            f"Expected a '{wanted}' device type for generator but found '{rng.device.type}'"
        )
    with torch._C.DisableTorchFunctionSubclass():
        result = func(*args, **kwargs)
        if own:
            return _wrapped(result)
        if func in (Tensor.to, Tensor.cpu) or name in ("as_tensor", "tensor"):
            return _plain(result)
    return result


def _copied(tensor, memo):
    if id(tensor) in memo:
        return memo[id(tensor)]
    with torch._C.DisableTorchFunctionSubclass():
        new = tensor.detach().clone().as_subclass(There).requires_grad_(tensor.requires_grad)
    if getattr(tensor, "_is_param", False):
        new._is_param = True
    memo[id(tensor)] = new
    return new


def _destination(func, args, kwargs, there):
    """Whether the result is on the GPU, and the arguments with the processor for the device."""
    if func is Tensor.cpu:
        return False, args, kwargs
    given = kwargs.get("device")
    if given is not None:
        return _is_gpu(given), args, {**kwargs, "device": CPU}
    if func is Tensor.to:
        for k, value in enumerate(args[1:], 1):
            if _is_device(value):
                return _is_gpu(value), (*args[:k], CPU, *args[k + 1 :]), kwargs
            if isinstance(value, Tensor):
                return isinstance(value, There), args, kwargs
    if func is Tensor.type_as:
        return isinstance(args[1], There), args, kwargs
    if func in (Tensor.copy_, Tensor.__setitem__):
        return isinstance(args[0], There), args, kwargs
    if func is torch.tensor:
        return False, args, kwargs
    return there, args, kwargs


class Generator(torch._C.Generator):
    """A generator that pretends to be on the GPU where that is asked for."""

    def __new__(cls, device="cpu"):
        new = super().__new__(cls, "cpu")
        new.there = _is_gpu(device)
        return new

    def __init__(self, device="cpu"):
        pass

    @property
    def device(self):
        return GPU if self.there else CPU

    def get_state(self):
        state = super().get_state()
        return torch.cat([state, MARK]) if self.there else state

    def set_state(self, state):
        if isinstance(state, There):
            raise TypeError("expected a torch.ByteTensor, but got torch.cuda.ByteTensor")
        if self.there:
            if len(state) % 8 != 1:
                raise RuntimeError("RNG state is wrong size")
            state = state[:-1].clone()
        super().set_state(state)
        return self


_parse_to = torch._C._nn._parse_to


def _parsed(*args, **kwargs):
    """What `torch.nn.Module.to` makes of its arguments."""
    device, *rest = _parse_to(*args, **kwargs)
    there = any(isinstance(t, There) for t in _tensors([args, kwargs]))
    return (GPU if there else device, *rest)


class _Properties:
    total_memory = MEMORY


@contextmanager
def pretended_gpu():
    """A context in which "cuda" can be used."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            patch("torch.Generator", Generator),
            patch("torch._C._nn._parse_to", _parsed),
            patch("torch.cuda.get_device_properties", lambda _: _Properties()),
            patch("torch.cuda.get_device_name", lambda _: "a pretended GPU"),
            warnings.catch_warnings(),
            _Mode(),
        ):
            warnings.filterwarnings("ignore", "User provided device_type of 'cuda'")
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def travelled(value, device, known=None):
    """What a value is on a device: tensors, modules, generators, and what holds them.

    Functions, modules and objects are changed in place, their closures and attributes too.
    """
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)][0]
    known[id(value)] = (value, value)  # which keeps it alive: an address is not given twice
    new = _travelled(value, device, known)
    known[id(value)] = (new, value)
    return new


def _travelled(value, device, known):
    if isinstance(value, torch._C.Generator):
        return torch.Generator(device).manual_seed(value.initial_seed())
    if isinstance(value, Tensor):
        moved = value.detach().to(device)
        return moved.requires_grad_(value.requires_grad) if value.is_floating_point() else moved
    if isinstance(value, torch.optim.Optimizer):  # its parameters are known: modules come first
        for group in value.param_groups:
            group["params"] = [travelled(p, device, known) for p in group["params"]]
        return value
    if isinstance(value, nn.Module):
        old = [*value.parameters()]
        value.to(device)
        for before, after in zip(old, value.parameters(), strict=True):
            known[id(before)] = (after, before)
        _attributes(value, vars(value), device, known)
        return value
    if isinstance(value, dict):
        return {key: travelled(one, device, known) for key, one in value.items()}
    if isinstance(value, list | tuple):
        new = [travelled(one, device, known) for one in value]
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    if isinstance(value, FunctionType):
        return _function(value, device, known)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        _attributes(value, {f.name: 0 for f in dataclasses.fields(value)}, device, known)
    elif hasattr(value, "__dict__") and type(value).__module__.split(".")[0] != "torch":
        _attributes(value, vars(value), device, known)
    return value


def _attributes(owner, names, device, known):
    if isinstance(owner, type) or type(owner).__name__ == "module":
        return
    for name in list(names):
        if name not in ("_parameters", "_buffers", "_modules") and hasattr(owner, name):
            before = getattr(owner, name)
            after = travelled(before, device, known)
            if after is not before:
                object.__setattr__(owner, name, after)


def _function(function, device, known):
    cells = list(function.__closure__ or ())
    with suppress(ValueError):  # an empty cell
        # modules first: their parameters are then known to optimisers
        cells.sort(key=lambda cell: not isinstance(cell.cell_contents, nn.Module))
    for cell in cells:
        with suppress(ValueError):
            cell.cell_contents = travelled(cell.cell_contents, device, known)
    if function.__defaults__:
        function.__defaults__ = travelled(function.__defaults__, device, known)
    return function
