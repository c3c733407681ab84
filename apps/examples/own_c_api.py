"""Calls the library of own_c_api.cpp with nothing but Python's ctypes: own_c_api.py LIBRARY"""

import ctypes
import sys
import tempfile
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_uint64, c_void_p

lib = ctypes.CDLL(sys.argv[1])
lib.last_error.restype = c_char_p
lib.classifier_new.argtypes = [c_char_p, c_int64, c_int64, c_uint64, POINTER(c_void_p)]
lib.classifier_load.argtypes = lib.classifier_save.argtypes = [c_void_p, c_char_p]
lib.classifier_free.argtypes = [c_void_p]
lib.classifier_free.restype = None
lib.classifier_run.argtypes = [c_void_p, POINTER(c_float), c_int64, c_int64, c_int64, POINTER(c_float), c_int64]


def check(code):
    if code:
        raise RuntimeError(code, lib.last_error().decode())


class Classifier:
    def __init__(self, name, width, classes, seed):
        self.handle, self.classes = c_void_p(), classes
        check(lib.classifier_new(name.encode(), width, classes, seed, byref(self.handle)))

    def __del__(self):
        lib.classifier_free(self.handle)

    def __call__(self, images, n, height, width, room=None):
        room = n * self.classes if room is None else room
        logits = (c_float * room)()
        check(lib.classifier_run(self.handle, (c_float * len(images))(*images), n, height, width, logits, room))
        return list(logits)


def refused(words, call):
    try:
        call()
    except RuntimeError as error:
        code, said = error.args
        assert code == 1 and said.startswith("mindgap: ") and words in said, (code, said)
    else:
        raise AssertionError(f"nothing was refused, wanted: {words}")


images = [(i * 37 % 101) / 101 for i in range(2 * 28 * 28)]
first, other = Classifier("resnet18", 4, 10, 1), Classifier("resnet18", 4, 10, 2)
with tempfile.TemporaryDirectory() as folder:
    assert first(images, 2, 28, 28) != other(images, 2, 28, 28)
    check(lib.classifier_save(first.handle, f"{folder}/weights.safetensors".encode()))
    check(lib.classifier_load(other.handle, f"{folder}/weights.safetensors".encode()))
    assert first(images, 2, 28, 28) == other(images, 2, 28, 28)
    refused("nowhere.safetensors", lambda: check(lib.classifier_load(first.handle, f"{folder}/nowhere.safetensors".encode())))
refused("there is no model 'resnet19'", lambda: Classifier("resnet19", 4, 10, 1))
refused("the logits do not fit", lambda: first(images, 2, 28, 28, room=5))
print("as it should be")
