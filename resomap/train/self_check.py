"""Self-check of a training before its first step, and after its microbatch was halved: two computations, the same bits.

Where they have not, the training takes another way to compute them: float32 in place of mixed precision, then torch's
own kernels in place of oneDNN's. Nothing of the training's state changes by it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resomap.compute.device import is_out_of_memory, memory_left, undeterministic_kernel
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor, evaluation_batch
from resomap.compute.same_bits import Comparison, compute_twice
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.train.gradients import BatchPass, GradientPass
from resomap.train.loop import TrainingData
from resomap.train.objective import Objective
from resomap.train.state import TrainingState
from resomap.train.step_graph import GraphPass, Recording

FILL = 0.1  # parameters that are all zero get numbers up to this one: what they multiply could not be seen


@dataclass(frozen=True)
class Checked:
    """Outcome of a self-check: how to compute, and what is to be said of it."""

    execution: Execution
    fallback: str | None = None  # why it is another way than the wanted one
    deviation: str | None = None  # why the result is not exact all the same


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """Check of one training, on its first batch and on the first and the last batch of its validation images.

    `between` runs before each computation, and may end the check by raising.
    """

    state: TrainingState
    recipe: Training
    data: TrainingData
    objective: Objective
    is_deterministic: bool  # by the configuration
    between: Callable[[], None] = lambda: None

    def run(self, wanted: Execution) -> Checked:
        """Return the first way of computing that gives the same bits twice, the wanted one before all others.

        On a GPU without `deterministic: true` sums differ by rounding: there the wanted way stays, and is not exact.
        So it is where torch has no deterministic kernel for a part of the network, from then on in this process.
        Raises PermanentFailure where no way gives the same twice, not even up to rounding.
        """
        try:
            return self._first_repeatable(wanted)
        except RuntimeError as error:
            if (kernel := undeterministic_kernel(error)) is None:
                raise
        torch.use_deterministic_algorithms(True, warn_only=True)
        found = replace(self, is_deterministic=False)._first_repeatable(wanted)
        reason = f"torch has no deterministic version of {kernel}"
        return replace(found, deviation="; ".join(filter(None, (reason, found.deviation))))

    def _first_repeatable(self, wanted: Execution) -> Checked:
        may_round = wanted.device.is_cuda and not self.is_deterministic
        tried: list[tuple[Execution, Comparison]] = []
        try:
            with _untouched(self.state.model):
                for way in ways(wanted):
                    compared = self._compare(way)
                    if compared.is_equal:
                        return Checked(way, _instead_of(wanted, way, tried[0][1]) if tried else None)
                    tried.append((way, compared))
                    if may_round and not compared.apart:
                        break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            wanted.activate()
            return Checked(wanted, deviation=f"not checked: out of memory ({memory_left(wanted.device.torch)})")
        for way, compared in tried:
            if not compared.apart:
                way.activate()
                fallback = _instead_of(wanted, way, tried[0][1]) if way != wanted else None
                return Checked(way, fallback, f"{_found(way, compared)} differ by rounding")
        raise PermanentFailure(
            f"{_found(*tried[-1])} differ, as in each other way: a training would be chance; test the memory and the "
            "processor of this machine, or train this model elsewhere or at another resolution"
        )

    def compare(self, way: Execution) -> Comparison:
        """Compute twice in one way, which this process computes in from then on, and compare."""
        with _untouched(self.state.model):
            return self._compare(way)

    def compare_graph(self, way: Execution, kind: type[Recording]) -> Comparison:
        """Compare the pass of the first batch with its replay from a graph, which was recorded under other draws.

        Raises what torch raises where the pass cannot be recorded or memory ends.
        """
        plain = self.data.gradient_pass(self.recipe, self.objective, way)
        if not isinstance(plain, GradientPass):
            raise TypeError("only the pass of a whole network is recorded")
        graph = GraphPass(plain, kind, self.data.batches.batch_size)
        with _untouched(self.state.model):
            way.activate()
            self._pass_results(graph, way)
            passes = iter((plain, graph))
            return compute_twice(lambda: self._pass_results(next(passes), way, 1, with_buffers=True), way.device)

    def _compare(self, way: Execution) -> Comparison:
        way.activate()
        return compute_twice(lambda: self._results(way), way.device)

    def _results(self, way: Execution) -> dict[str, Tensor]:
        """Loss and gradients of the first batch, and answers to validation images; in main memory."""
        model, size = self.state.model, self.state.microbatch
        results = self._pass_results(self.data.gradient_pass(self.recipe, self.objective, way), way)
        model.eval()
        predictor = Predictor(Inference(model, way), self.data.normalisation)
        images = self.data.validation or self.data.batches.images  # a refit learns from all that it has
        pixels, batch = images.pixels, evaluation_batch(self.recipe, size)
        for start in sorted({0, (len(pixels) - 1) // batch * batch}):
            answers = predictor(torch.from_numpy(pixels[start : start + batch].copy()))
            results[f"the answers to validation images from the {start + 1}. on"] = answers.cpu()
        return results

    def _pass_results(
        self, gradients: BatchPass, way: Execution, seed: int = 0, with_buffers: bool = False
    ) -> dict[str, Tensor]:
        """Loss, gradients and, if wanted, buffers after the first batch, in main memory; the network's own stay."""
        self.between()
        model, buffers = self.state.model, _copies(self.state.model.named_buffers())
        torch.manual_seed(seed)
        model.train()
        unscaled = torch.amp.GradScaler(way.device.torch.type, enabled=False)
        loss, _ = gradients.accumulate(model, unscaled, self.data.batches.first(), self.state.microbatch)
        results = {"the loss": loss.cpu()}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                results[f"the gradients of {name}"] = parameter.grad.to("cpu", copy=True)
                parameter.grad = None
        if with_buffers:
            results |= {f"the values of {name}": values.to("cpu", copy=True) for name, values in model.named_buffers()}
        _restore(model, buffers)  # an answer must not depend on the pass before
        return results


def ways(wanted: Execution) -> Iterator[Execution]:
    """Yield the ways of computing, the wanted one first: float32, then without oneDNN, which GPUs do not have."""
    yield wanted
    if wanted.precision is not None:
        yield replace(wanted, precision=None)
    if wanted.onednn and not wanted.device.is_cuda:
        yield replace(wanted, precision=None, onednn=False)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put the network back as it was at the end: buffers, mode, gradients, zeros; and the random state."""
    modes = {module: module.training for module in model.modules()}  # of a frozen network they are not all the same
    buffers = _copies(model.named_buffers())
    zeros = _copies((name, values) for name, values in model.named_parameters() if not values.detach().any())
    with torch.random.fork_rng(devices=_gpus(model)):
        # A residual branch that begins at zero hands no gradient on, so that a fault before it would not show.
        torch.manual_seed(0)
        with torch.no_grad():
            for name in zeros:
                model.get_parameter(name).uniform_(-FILL, FILL)
        try:
            yield
        finally:
            _restore(model, {**buffers, **zeros})
            model.zero_grad(set_to_none=True)
            for module, was_training in modes.items():
                module.training = was_training


def _copies(tensors: "Iterator[tuple[str, Tensor]]") -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in tensors}


def _restore(model: nn.Module, copies: dict[str, Tensor]) -> None:
    there = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    with torch.no_grad():
        for name, values in copies.items():
            there[name].copy_(values)


def _gpus(model: nn.Module) -> list[torch.device]:
    return [device for device in {values.device for values in model.parameters()} if device.type == "cuda"]


def _found(way: Execution, compared: Comparison) -> str:
    """Return what differed, as the subject of a sentence in the plural."""
    names = compared.apart or compared.differing
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"computed twice from one batch {way.words}, {names[0]}{more}"


def _instead_of(wanted: Execution, taken: Execution, compared: Comparison) -> str:
    return f"computed {taken.words}, because {_found(wanted, compared)} differ"
