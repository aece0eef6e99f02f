"""A classifier for scikit-learn: `ImageClassifier` has fit and predict, and goes into pipelines and grid searches.

Needs scikit-learn (`pip install scikit-learn`), which nothing else of gpunet does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from gpunet.backend import asarray, random_state, set_random_state, to_cpu
from gpunet.backend.random import manual_seed
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import ArgumentError
from gpunet.functional import cross_entropy, softmax
from gpunet.models import create_model
from gpunet.nn import Module, evaluation_mode
from gpunet.optim import AdamW
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["ImageClassifier"]

Images = np.ndarray[Any, Any]


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """Trains a network of `gpunet.models` on images and their classes, with AdamW in one cycle of learning rates.

    Images are brought to mean 0 and deviation 1, channel by channel, as the training images have them.

    Args:
        model: the name of a network, see `gpunet.models.MODELS`, or a function that makes one of (number of classes,
            number of channels).
        image_shape: (C, H, W) of the images where X is (n, features), as scikit-learn has it; a row of features without
            a shape is an image of one line.
        epochs: passes over the images.
        batch_size: images in a step.
        lr: the highest learning rate.
        weight_decay: the part of a weight, times the learning rate, that a step takes away.
        random_state: a seed, a NumPy generator, or None.

    Attributes:
        classes_: the classes, sorted.
        model_: the trained network.
        n_features_in_: numbers in an image.

    Shape:
        X: (n, C, H, W) or (n, features); y: (n,) of any labels.
    """

    def __init__(
        self,
        model: str | Callable[[int, int], Module] = "resnet8",
        image_shape: Sequence[int] | None = None,
        epochs: int = 15,
        batch_size: int = 32,
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ImageClassifier:  # noqa: N803
        """Train a new network; X and y that are no images and classes are a ValueError, as scikit-learn has it.

        Raises:
            ArgumentError: if a setting makes no sense.
        """
        if y is None:
            raise ValueError("ImageClassifier requires y to be passed, but the target y is None")
        images, labels = self._checked(X, y, reset=True)
        return self._begin(images, np.unique(labels))._train(images, labels, self.epochs, one_cycle=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> ImageClassifier:  # noqa: N803
        """Go once over these images, with the network of the last call.

        Args:
            classes: all that there will ever be, at the first call; another one later is a ValueError.

        Raises:
            ArgumentError: as `fit`.
        """
        begun = hasattr(self, "model_")
        images, labels = self._checked(X, y, reset=not begun)
        if not begun:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit")
            self._begin(images, np.unique(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to partial_fit: {self.classes_!r}"
            )
        return self._train(images, labels, 1, one_cycle=False)

    def predict_proba(self, X: Any) -> Images:  # noqa: N803
        """How likely each class is.

        Shape:
            result: (n, number of classes).
        """
        check_is_fitted(self)
        images = self._scaled(self._checked(X, None, reset=False)[0])
        found = [np.zeros((0, len(self.classes_)))]
        with no_grad(), evaluation_mode(self.model_):
            for start in range(0, len(images), 256):
                logits = self.model_(Tensor(asarray(images[start : start + 256])))
                found.append(to_cpu(softmax(logits, dim=1).array).astype(np.float64))
        shares = np.concatenate(found)
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Any:  # noqa: N803
        """The likeliest class of each image.

        Shape:
            result: (n,).
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    # ------------------------------------------------------------------ for pickle and joblib, as plain arrays

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}
        if "model_" in state:
            state["model_"] = {name: each.numpy() for name, each in state["model_"].state_dict().items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = self._new_network()
            self.model_.load_state_dict(state["model_"])

    # ------------------------------------------------------------------ steps of it

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Images, Any]:  # noqa: N803
        """Images (n, C, H, W) in float32, and their labels."""
        X = X.numpy() if isinstance(X, Tensor) else X  # noqa: N806
        how: dict[str, Any] = {"reset": reset, "dtype": np.float32, "allow_nd": True, "ensure_min_samples": 1}
        if y is None:
            images, labels = validate_data(self, X, **how), None
        else:
            y = y.numpy() if isinstance(y, Tensor) else y
            images, labels = validate_data(self, X, y, **how)
            check_classification_targets(labels)
        if images.ndim == 2:
            shape = (1, 1, images.shape[1]) if self.image_shape is None else tuple(self.image_shape)
            if len(shape) != 3 or np.prod(shape) != images.shape[1]:
                raise ArgumentError(f"ImageClassifier: {images.shape[1]} features are no image of shape {shape}")
            images = images.reshape(-1, *shape)
        if images.ndim != 4 or (not reset and images.shape[1:] != self._shape):
            expected = "(n, C, H, W) or (n, features)" if reset else f"(n, *{self._shape})"
            raise ValueError(f"ImageClassifier expects images of shape {expected}, got {images.shape}")
        return images, labels

    def _begin(self, images: Images, classes: Any) -> ImageClassifier:
        """A new network."""
        self.classes_, self._shape, self.n_iter_ = classes, images.shape[1:], 0
        self._mean = images.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
        self._std = np.maximum(images.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64), 1e-12)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        before = random_state()
        manual_seed(self._seed)  # for the weights that the network begins with; nobody else is to notice
        try:
            self.model_ = self._new_network()
        finally:
            set_random_state(before)
        return self

    def _new_network(self) -> Module:
        classes, channels = len(self.classes_), self._shape[0]
        return self.model(classes, channels) if callable(self.model) else create_model(self.model, classes, channels)

    def _scaled(self, images: Images) -> Images:
        return ((images - self._mean) / self._std).astype(np.float32)

    def _train(self, images: Images, labels: Any, epochs: int, one_cycle: bool) -> ImageClassifier:
        """Passes over the images; each training counts how many there were, so that the next draws other orders."""
        places = np.searchsorted(self.classes_, labels)
        known = self.classes_[np.minimum(places, len(self.classes_) - 1)]
        if not np.array_equal(known, labels):
            raise ValueError(f"y contains classes that are not among {self.classes_!r}")
        data = TensorDataset(self._scaled(images), places.astype(np.int64))
        loader = DataLoader(data, min(self.batch_size, len(data)), shuffle=True, seed=self._seed)
        loader.set_epoch(self.n_iter_)
        optimizer = AdamW(self.model_.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = OneCycleLR(optimizer, self.lr, total_steps=epochs * len(loader)) if one_cycle else None
        self.model_.train()
        for _ in range(epochs):
            for batch, target in loader:
                if len(batch) == 1 and len(data) > 1:
                    continue  # the rest of an epoch, of one image: it has no variance
                optimizer.zero_grad()
                cross_entropy(self.model_(batch), target).backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
            self.n_iter_ += 1
        return self
