"""Tests of task_bundle.errors."""

import inspect

from task_bundle import errors


def test_all_have_one_base_and_the_fitting_built_in_exception() -> None:
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    assert classes.pop("UserError").__bases__ == (Exception,)
    base = classes.pop("TaskBundleError")
    assert issubclass(base, errors.UserError)
    assert all(issubclass(c, base) for c in classes.values())
    for builtin in (ValueError, RuntimeError, ImportError):
        assert not issubclass(base, builtin)
    assert issubclass(errors.InvalidArgumentError, ValueError)
    assert issubclass(errors.BundleError, ValueError)
    assert issubclass(errors.MissingDependencyError, ImportError)
    assert issubclass(errors.FaceModelsError, RuntimeError)
