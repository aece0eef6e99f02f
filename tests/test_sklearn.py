"""The estimator for scikit-learn: its own checks, and the pipelines and searches that people put it in."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from gpunet import nn, tensor
from gpunet.backend import manual_seed, random_state
from gpunet.errors import ArgumentError
from gpunet.sklearn import ImageClassifier


def small(classes, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, classes)
    )


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data[:600].astype(np.float32), data.target[:600]


def classifier(**settings):
    return ImageClassifier(**{"model": small, "image_shape": (1, 8, 8), "epochs": 8, "random_state": 0, **settings})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(ImageClassifier())),
    ids=lambda each: each.func.__name__ if hasattr(each, "func") else "",
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


def test_it_learns_and_names_the_classes(digits):
    images, labels = digits
    names = np.array([f"digit {label}" for label in labels])
    learned = classifier().fit(images[:450], names[:450])
    assert learned.classes_[3] == "digit 3"
    assert learned.score(images[450:], names[450:]) > 0.85
    shares = learned.predict_proba(images[450:])
    assert shares.shape == (150, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    four_d = classifier(image_shape=None).fit(images[:450].reshape(-1, 1, 8, 8), names[:450])
    np.testing.assert_array_equal(four_d.predict_proba(images[450:].reshape(-1, 1, 8, 8)), shares)
    of_tensors = classifier().fit(tensor(images[:450]), names[:450])
    np.testing.assert_array_equal(of_tensors.predict_proba(tensor(images[450:])), shares)


def test_pipelines_and_searches(digits):
    images, labels = digits
    pipeline = make_pipeline(MinMaxScaler(), classifier(epochs=3))
    assert cross_val_score(pipeline, images, labels, cv=2).min() > 0.5
    search = GridSearchCV(classifier(epochs=2), {"lr": [1e-6, 1e-2]}, cv=2).fit(images[:200], labels[:200])
    assert search.best_params_ == {"lr": 1e-2}


def test_going_on_with_other_images(digits):
    images, labels = digits
    learned = classifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        learned.partial_fit(images[:10], labels[:10])
    for _ in range(6):
        for place in range(0, 400, 100):
            learned.partial_fit(images[place : place + 100], labels[place : place + 100], classes=np.arange(10))
    assert learned.score(images[400:], labels[400:]) > 0.8
    with pytest.raises(ValueError, match="classes that are not among"):
        learned.partial_fit(images[:2], [0, 10])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        learned.partial_fit(images[:2], [0, 1], classes=[0, 1])


def test_copies_and_pickles_say_the_same(digits):
    images, labels = digits
    learned = ImageClassifier(image_shape=(1, 8, 8), epochs=1, random_state=0).fit(images[:64], labels[:64])
    expected = learned.predict_proba(images[:50])
    for other in (copy.deepcopy(learned), pickle.loads(pickle.dumps(learned))):
        np.testing.assert_array_equal(other.predict_proba(images[:50]), expected)


def test_nobody_else_s_random_numbers_are_drawn(digits):
    images, labels = digits
    manual_seed(5)
    before = random_state()
    classifier(epochs=1).fit(images[:40], labels[:40])
    assert random_state() == before


def test_a_second_fit_begins_anew(digits):
    images, labels = digits
    learned = classifier(epochs=1)
    one, two = (learned.fit(images[:200], labels[:200]).predict_proba(images[:20]) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert learned.n_iter_ == 1


def test_shapes_that_do_not_fit(digits):
    images, labels = digits
    with pytest.raises(ArgumentError, match=r"64 features are no image of shape \(3, 8, 8\)"):
        classifier(image_shape=(3, 8, 8)).fit(images, labels)
    learned = classifier(epochs=1).fit(images[:32], labels[:32])
    with pytest.raises(ValueError, match="64"):
        learned.predict(images[:2, :60])
    with pytest.raises(ValueError, match=r"expects images of shape"):
        classifier().fit(images.reshape(-1, 8, 8)[:8], labels[:8])
