"""A neural spline flow as coordinates of a table: an invertible map of rows, of known volume.

Rows are centred and turned, and mapped by monotone rational-quadratic splines, whose knots are
functions of the columns before (Durkan, Bekasov, Murray, Papamakarios 2019, arXiv 1906.04032). The
networks of these functions are those of zuko, which is an optional extra. Rows of a density that
the flow was trained on become nearly standard normal; beyond 5 the splines are the identity.
`noneq.run.flows` trains flows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noneq.random import seeded

__all__ = ["SplineFlow", "require_zuko", "spline_network"]

BLOCK = 4096  # rows at a time


def require_zuko() -> Any:
    """Import zuko, an optional extra.

    Returns:
        The module.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import zuko
    except ImportError as error:
        raise ImportError(
            '`spline_flow` needs zuko, which is not installed: pip install "noneq[flow]"'
        ) from error
    return zuko


def spline_network(columns: int, transforms: int, width: int, seed: int = 0) -> nn.Module:
    """Make the networks of an untrained flow.

    Arguments:
        columns: number of columns D.
        transforms: number of autoregressive transforms.
        width: width of the two hidden layers of each network.
        seed: seed of the first parameters.

    Returns:
        The flow of zuko, ``zuko.flows.NSF``, on the CPU in float32.

    Raises:
        ImportError: zuko is not installed.
    """
    zuko = require_zuko()
    with seeded(seed):
        net: nn.Module = zuko.flows.NSF(
            columns, transforms=transforms, hidden_features=(width, width)
        )
    return net.float()


class SplineFlow:
    """A spline flow with fixed parameters, ``u = f((y - mean) turn)``, a `noneq.data.maps.Map`.

    It computes in double precision, so that it is undone accurately.

    Arguments:
        net: network that `spline_network` made, of these sizes.
        mean: what is subtracted from rows, float64 (D,).
        turn: matrix by which they are multiplied then, float64 (D, D).
        transforms: number of autoregressive transforms of the network.
        width: width of its hidden layers.
    """

    def __init__(
        self, net: nn.Module, mean: Tensor, turn: Tensor, *, transforms: int, width: int
    ) -> None:
        self.mean, self.turn = mean.double().cpu(), turn.double().cpu()
        self.transforms, self.width = transforms, width
        self._back = torch.linalg.inv(self.turn)
        self._log_det = torch.linalg.slogdet(self.turn)[1]
        self._net = spline_network(len(self.mean), transforms, width)
        self._net.load_state_dict(net.state_dict())
        self._net.double().requires_grad_(False)

    @torch.no_grad()
    def apply(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows to the coordinates of the flow.

        Arguments:
            y: rows (M, D).

        Returns:
            The mapped rows u (M, D), float64, and ``log |det du/dy|`` of each row (M,).
        """
        found, volume = [], []
        for part in torch.split(y.double().cpu(), BLOCK):
            u, log_det = self._transform().call_and_ladj((part - self.mean) @ self.turn)
            found.append(u)
            volume.append(log_det + self._log_det)
        return torch.cat(found), torch.cat(volume)

    @torch.no_grad()
    def undo(self, u: Tensor) -> Tensor:
        """Map rows back from the coordinates of the flow.

        Arguments:
            u: mapped rows (M, D).

        Returns:
            The rows y (M, D), float64, with the precision of float32: equal rows stay equal.
        """
        inverse = self._transform().inv
        parts = [inverse(part) @ self._back for part in torch.split(u.double().cpu(), BLOCK)]
        return (torch.cat(parts) + self.mean).float().double()

    def _transform(self) -> Any:
        """Return zuko's transform, with the parameters of the network."""
        return self._net.transform()  # type: ignore[operator]

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters by name, for a file of tensors.

        Returns:
            Those of the networks in float32, in which they were trained, mean and turn in float64.
        """
        own = {f"net.{name}": p.float() for name, p in self._net.named_parameters()}
        return {**own, "mean": self.mean, "turn": self.turn}

    def plain(self) -> dict[str, int]:
        """Return the sizes of the networks, for a JSON file.

        Returns:
            The arguments ``transforms`` and ``width``.
        """
        return {"transforms": self.transforms, "width": self.width}

    @classmethod
    def from_plain(cls, plain: Mapping[str, int], tensors: Mapping[str, Tensor]) -> SplineFlow:
        """Restore a flow from what `plain` and `tensors` returned, bit for bit.

        Arguments:
            plain: sizes of the networks.
            tensors: parameters by name.

        Returns:
            The flow.

        Raises:
            ValueError: the parameters are those of another flow.
            ImportError: zuko is not installed.
        """
        try:
            mean, turn = tensors["mean"], tensors["turn"]
            net = spline_network(len(mean), plain["transforms"], plain["width"])
            own = {name: tensors[f"net.{name}"] for name, _ in net.named_parameters()}
            net.load_state_dict(own, strict=False)  # what is no parameter is the same in all
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"the parameters of another flow ({reason})") from error
        return cls(net, mean, turn, transforms=plain["transforms"], width=plain["width"])
