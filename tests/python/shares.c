// SPDX-License-Identifier: MIT
// A C extension as somebody else would write one: it finds powerprobe's functions by the capsule.
#include <Python.h>

#include "powerprobe.h"

static const pp_api *api;
static pp_probe *probe;

static PyObject *failed(void) {
  const pp_error *const error = api->last_error();
  return PyErr_Format(PyExc_RuntimeError, "%d %s [%s]", (int)error->status, error->message, error->remedy);
}

static PyObject *open_shared(PyObject *self, PyObject *none) {
  (void)self, (void)none;
  pp_status status;
  Py_BEGIN_ALLOW_THREADS
  status = api->open(NULL, &probe);
  Py_END_ALLOW_THREADS
  if (status != PP_OK) return failed();
  return PyLong_FromUnsignedLong(api->channel_count(probe));
}

static PyObject *measure(PyObject *self, PyObject *none) {
  (void)self, (void)none;
  pp_region *region = NULL;
  pp_joules energy = PP_JOULES_INIT;
  int64_t start = 0, end = 0;
  pp_status status;
  Py_BEGIN_ALLOW_THREADS
  status = api->begin(probe, &region);
  if (status == PP_OK) {
    for (const int64_t until = api->mark(probe) + 20000000; api->now() < until;) {
    }
    status = api->end(region);
  }
  if (status == PP_OK) status = api->region_energy(region, PP_TOTAL, 5 * PP_SETTLE, &energy, &start, &end);
  Py_END_ALLOW_THREADS
  api->region_free(region);
  if (status != PP_OK) return failed();
  return Py_BuildValue("ddLL", energy.lower, energy.upper, (long long)start, (long long)end);
}

static PyObject *close_shared(PyObject *self, PyObject *none) {
  (void)self, (void)none;
  api->close(probe);
  probe = NULL;
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"open_shared", open_shared, METH_NOARGS, ""},
                                {"measure", measure, METH_NOARGS, ""},
                                {"close_shared", close_shared, METH_NOARGS, ""},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT, .m_name = "shares", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_shares(void) {
  api = pp_import_api();
  return api == NULL ? NULL : PyModule_Create(&module);
}
