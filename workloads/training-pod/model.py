"""The model that is trained: a small multilayer perceptron with Adam, in numpy or in TensorFlow.

Both engines keep the same arrays in the same order (parameters, first moments, second moments;
float32), so that a state saved by one can be read by the other.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np

Arrays = List[np.ndarray]

FEATURES, HIDDEN, CLASSES = 256, 128, 10
SHAPES = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
RATE, BETA1, BETA2, EPSILON = 2e-3, 0.9, 0.999, 1e-7  # Kingma and Ba 2015, with Keras' epsilon


def data_set(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A learnable classification problem: (rows, 256) float32 features and (rows,) labels below 10.

    A fixed random network (the teacher) labels points drawn around one centre per class."""
    random = np.random.default_rng([seed, 1])
    centres = random.standard_normal((CLASSES, FEATURES)).astype(np.float32)
    labels = random.integers(0, CLASSES, rows)
    noise = random.standard_normal((rows, FEATURES)).astype(np.float32)
    bend = random.standard_normal((FEATURES, FEATURES)).astype(np.float32) / np.float32(16)
    features = np.tanh((0.12 * centres[labels] + noise) @ bend)
    return features.astype(np.float32), labels


def initial_arrays(seed: int) -> Arrays:
    """The twelve arrays of step 0: Glorot-uniform weights, zero biases, zero moments."""
    random = np.random.default_rng([seed, 2])
    parameters = []
    for shape in SHAPES:
        limit = np.sqrt(6.0 / sum(shape)) if len(shape) == 2 else 0.0
        parameters.append(random.uniform(-limit, limit, shape).astype(np.float32))
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES]
    return parameters + zeros + [z.copy() for z in zeros]


class NumpyEngine:
    name = "numpy"

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = [np.array(array, np.float32) for array in arrays]

    def arrays(self) -> Arrays:
        return self._arrays

    def step(self, number: int, features: np.ndarray, labels: np.ndarray) -> float:
        """One Adam step (`number` counts from 1) on a batch; the mean cross-entropy before it."""
        w1, b1, w2, b2 = self._arrays[:4]
        rows = np.arange(len(labels))
        hidden = np.maximum(features @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        loss = float(-np.log(chances[rows, labels] + 1e-12).mean())
        chances[rows, labels] -= 1
        error = chances / np.float32(len(labels))
        inner = (error @ w2.T) * (hidden > 0)
        gradients = (features.T @ inner, inner.sum(axis=0), hidden.T @ error, error.sum(axis=0))
        rate = np.float32(RATE * np.sqrt(1 - BETA2**number) / (1 - BETA1**number))
        for index, gradient in enumerate(gradients):
            parameter, first, second = self._arrays[index::4]
            first += (gradient - first) * np.float32(1 - BETA1)
            second += (gradient * gradient - second) * np.float32(1 - BETA2)
            parameter -= rate * first / (np.sqrt(second) + np.float32(EPSILON))
        return loss


class TensorFlowEngine:
    name = "tensorflow"

    def __init__(self, arrays: Arrays) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf = tf
        self._variables = [tf.Variable(array, dtype=tf.float32) for array in arrays]
        self._compiled = tf.function(self._step)

    def arrays(self) -> Arrays:
        return [variable.numpy() for variable in self._variables]

    def step(self, number: int, features: np.ndarray, labels: np.ndarray) -> float:
        tf = self._tf
        rate = RATE * np.sqrt(1 - BETA2**number) / (1 - BETA1**number)
        loss = self._compiled(
            tf.constant(features), tf.constant(labels, tf.int32), tf.constant(rate, tf.float32)
        )
        return float(loss.numpy())

    def _step(self, features: Any, labels: Any, rate: Any) -> Any:
        tf = self._tf
        parameters = self._variables[:4]
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(features @ parameters[0] + parameters[1])
            logits = hidden @ parameters[2] + parameters[3]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        for index, gradient in enumerate(tape.gradient(loss, parameters)):
            parameter, first, second = self._variables[index::4]
            first.assign_add((gradient - first) * (1 - BETA1))
            second.assign_add((gradient * gradient - second) * (1 - BETA2))
            parameter.assign_sub(rate * first / (tf.sqrt(second) + EPSILON))
        return loss


ENGINES = {"numpy": NumpyEngine, "tensorflow": TensorFlowEngine}
