"""A backend that is there when a run is planned, and gone when its trials start."""

NAME = "gone.py"
GONE = '''"""A backend that goes away as soon as it is planned."""
from echobench import NativeBackend, hookimpl


class Gone(NativeBackend):
    name = "gone"
    keras_backend = "numpy"
    requires = ()
    planned = False

    def why_unavailable(self):
        return "it went away while the run was being prepared" if Gone.planned else None

    def environment(self, device, threads):
        Gone.planned = True
        return {}

    def configure(self, device, threads):
        raise AssertionError

    def devices(self):
        raise AssertionError

    def program(self, task, recipe):
        raise AssertionError

    def trainer(self, program, epochs):
        raise AssertionError

    def facts(self):
        raise AssertionError

    def predictor(self, program):
        raise AssertionError


@hookimpl
def echobench_backends():
    return [Gone()]
'''
"""A trial on it costs no worker: its record says that it is unavailable."""
