"""Linear probes: how well a layer separates the classes (letKD, Table 4)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..._checks import check_choice
from ..._errors import ConfigError
from ..._tables import text_table
from ...models.letkd import CONTAINER
from ...models.points.entries import ShownPoint
from ...models.points.probe import Place
from ..base import Analysis, Reading, Study, Subject
from ..drawing import add_title, colours, frame, new_figure
from ..passes import run_models
from ..study import training_loader
from .attention import stage_names

HEADS = {"lda": "linear discriminant analysis", "linear": "logistic regression"}
MOST_STEPS = 1000


class Probe(Analysis):
    """Accuracy of a linear classifier on the spatial average of a layer.

    It is fitted on the training images without augmentation and tested on the test images.

    Args:
        points: feature points or module paths; by default input and output of every KD layer of a letKD student, or
            the ends of the stages.
        head: ``"lda"``, scikit-learn's solver ``svd``; or ``"linear"``, logistic regression on standardized features.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, Table 4.
    """

    name = "probe"
    title = "accuracy of a linear classifier on layers"

    def __init__(self, *, points: list[str] | None = None, head: str = "lda") -> None:
        check_choice("--head", head, HEADS)
        self.points, self.head = points, head
        self.readings: dict[str, Reading] = {}

    def reads(self, study: Study, subject: Subject) -> Reading | None:
        """Return the averages of the points."""
        layers = getattr(subject.inside, CONTAINER, None)
        letkd = any(hasattr(student.inside, CONTAINER) for student in study.students)
        if self.points is None and letkd:
            if layers is None:
                return None  # the teacher has no KD layers
            paths = [(f"{CONTAINER}.{name}", io) for name in layers for io in ("input", "output")]
            places: dict[str, tuple[Place, Callable[[Any], Tensor]]] = {
                f"{path} {io}": ((path, io), _average) for path, io in paths
            }
        else:
            found = {name: subject.point(name) for name in self.points or stage_names(subject)}
            places = {name: ((point.path, point.io), _average_of(point)) for name, point in found.items()}
        self.readings[subject.name] = Reading(places)
        return self.readings[subject.name]

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``accuracy`` of every model's points, and ``own``, the models' accuracy, in percent."""
        subjects = [one for one in study.subjects if one.name in self.readings]
        readings = {(self.name, one.name): self.readings[one.name] for one in subjects}
        train = run_models(subjects, training_loader(study), study.procs.device, readings)
        if len(train.labels.unique()) < 2:
            raise ConfigError("probe needs training images of at least two classes")
        labels = study.found.labels
        accuracy = {
            one.name: {
                point: fitted_accuracy(
                    self.head, train.of(self.name, one.name, point), train.labels,
                    study.found.of(self.name, one.name, point), labels,
                )
                for point in study.found.kept[self.name, one.name][0]  # in the order in which the layers ran
            }
            for one in subjects
        }  # fmt: skip
        own = {one.name: 100 * float((study.found.logits[one.name].argmax(1) == labels).double().mean())
               for one in subjects}  # fmt: skip
        return {"head": self.head, "training_images": len(train.labels), "accuracy": accuracy, "own": own}

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model and point."""
        rows = [["model", "point", "probe, %", "the model itself, %"]]
        for name, points in result["accuracy"].items():
            rows += [[name, point, f"{value:.2f}", f"{result['own'][name]:.2f}"] for point, value in points.items()]
        told = f"{HEADS[result['head']]}, fitted on {result['training_images']} training images without augmentation"
        return [*text_table(rows, left=(0, 1)), told]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the accuracy along the points of every model."""
        figure = new_figure(8.0, 4.6)
        axes = figure.subplots()
        shade = colours(list(result["models"]))
        longest = max((list(points) for points in result["accuracy"].values()), key=len)
        for name, points in result["accuracy"].items():
            axes.plot(range(len(points)), points.values(), "o-", color=shade[name], label=f"{name}, probe")
            axes.axhline(result["own"][name], color=shade[name], ls="--", lw=1.2, label=f"{name}, the model itself")
        axes.set_xticks(range(len(longest)), [point.replace(" ", "\n") for point in longest], fontsize=8)
        frame(axes, "point", "accuracy on the test images, %", grid="y")
        models = min(4, len(result["accuracy"]))  # a model's two lines stand in one column
        figure.legend(loc="outside lower center", ncols=models, frameon=False, fontsize=8)
        trained = f"fitted on {result['training_images']} training images"
        add_title(figure, result, f"Linear probes ({HEADS[result['head']]}, {trained})")
        return figure


def fitted_accuracy(head: str, train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Return the test accuracy, in percent, of a linear classifier on features (N, d).

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1])
        >>> fitted_accuracy("lda", x, y, x + 0.05, y)
        100.0
    """
    # Imported here because scikit-learn takes a second to import.
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_STEPS))
    model = LinearDiscriminantAnalysis(solver="svd") if head == "lda" else linear
    with warnings.catch_warnings():
        # Channels that never fire are collinear; the solver drops them.
        warnings.filterwarnings("ignore", message="Variables are collinear")
        model.fit(train.double().numpy(), train_labels.numpy())
    return 100 * float(model.score(test.double().numpy(), test_labels.numpy()))


def _average(tensor: Tensor) -> Tensor:
    return tensor.mean((2, 3))


def _average_of(point: ShownPoint) -> Callable[[Any], Tensor]:
    return lambda tensor: _average(point.as_map(tensor))
