"""Overrides that leave few clusters to the letKD terms of a config, which are fitted in no time."""

import yaml

TERMS = "train.criterion.kwargs.sub_terms"
CENTRES, SUBCLASSES, COMPONENTS = 8, 2, 3


class _Loader(yaml.SafeLoader):
    """Reads a config without running its tags."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def few_clusters(text):
    """Return the overrides for the text of a config; none where it has no KD layers."""
    models, train = (yaml.load(text, _Loader).get(key, {}) for key in ("models", "train"))
    student = models.get("student_model", {})
    if student.get("key") != "letkd_student":
        return []
    classes = student["kwargs"]["student"]["kwargs"]["num_classes"]
    scores = {"penultimate": CENTRES, "intermediate": SUBCLASSES * classes}
    made = [
        f"models.student_model.kwargs.layers.{number}.num_scores={scores[layer['point']]}"
        for number, layer in enumerate(student["kwargs"]["layers"])
    ]
    for name, term in train["criterion"]["kwargs"]["sub_terms"].items():
        if term["criterion"]["key"] == "LetKDLoss":
            few = {"num_centres": CENTRES, "subclasses": SUBCLASSES, "components": COMPONENTS}
            own = term["criterion"]["kwargs"]
            made += [f"{TERMS}.{name}.criterion.kwargs.{key}={few[key]}" for key in few if key in own]
    return made
