// SPDX-License-Identifier: MIT
// Regions: named intervals marked by running Python code. A region costs two clock readings and as little around them as the
// interpreter allows, so these two types use the C API directly: a call through pybind11 costs more than the whole region.
#include <array>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "bindings/pybind.hpp"
#include "core/clock.hpp"

namespace powerprobe::bindings {
namespace {

struct RegionRecord {
  std::int64_t start_ns;
  std::int64_t end_ns;
  double items;
  std::uint64_t thread;
  std::uint32_t name;
  std::uint32_t depth;
};
static_assert(sizeof(RegionRecord) == 40);

struct Finished {
  RegionRecord record;  // `name` is filled in by take()
  PyObject* name;       // owned
};

struct RegionsObject {
  PyObject_HEAD
  PyObject* auto_sync;  // owned: what sync="auto" stands for
  std::mutex mutex;  // guards finished
  std::vector<Finished> finished;
};

struct RegionObject {
  PyObject_HEAD
  RegionsObject* owner;  // owned
  PyObject* name;        // owned
  PyObject* sync;        // owned: called before each of the two time stamps; nullptr: nothing is
  double items;
  std::int64_t start_ns;
  std::uint32_t depth;
  bool is_open;
};

// How many regions are open in this thread, of whatever owner.
thread_local std::uint32_t t_depth = 0;

// Set once by bind_regions(), then only read. A region with a sync can be in a cycle: an object that keeps its region and waits
// in a method of its own. So the collector has to know it, which would cost each of the others some nanoseconds.
PyTypeObject* g_region_type = nullptr;
PyTypeObject* g_synced_region_type = nullptr;

RegionsObject* as_regions(PyObject* self) { return reinterpret_cast<RegionsObject*>(self); }
RegionObject* as_region(PyObject* self) { return reinterpret_cast<RegionObject*>(self); }

// ---- Region

void region_dealloc(PyObject* self) {
  RegionObject* const region = as_region(self);
  Py_XDECREF(reinterpret_cast<PyObject*>(region->owner));
  Py_XDECREF(region->name);
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

int synced_region_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_region(self)->sync);
  return 0;
}

int synced_region_clear(PyObject* self) {
  Py_CLEAR(as_region(self)->sync);
  return 0;
}

void synced_region_dealloc(PyObject* self) {
  RegionObject* const region = as_region(self);
  PyObject_GC_UnTrack(self);
  Py_XDECREF(region->sync);
  Py_XDECREF(reinterpret_cast<PyObject*>(region->owner));
  Py_XDECREF(region->name);
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_Del(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

bool call(PyObject* sync) {
  PyObject* const result = PyObject_CallNoArgs(sync);
  Py_XDECREF(result);
  return result != nullptr;
}

PyObject* region_enter(PyObject* self, PyObject* /*unused*/) {
  RegionObject* const region = as_region(self);
  if (region->is_open) {
    PyErr_SetString(PyExc_RuntimeError, "this region is already open; make one for each with block");
    return nullptr;
  }
  region->is_open = true;
  if (region->sync != nullptr && !call(region->sync)) {
    region->is_open = false;
    return nullptr;
  }
  region->depth = t_depth++;
  Py_INCREF(self);
  region->start_ns = now_ns();
  return self;
}

PyObject* region_exit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  RegionObject* const region = as_region(self);
  // After an exception of the body the device may be broken, and that exception is the one to see.
  const bool is_waiting = region->sync != nullptr && region->is_open && (count == 0 || args[0] == Py_None);
  const bool is_synced = !is_waiting || call(region->sync);
  const std::int64_t end_ns = now_ns();
  if (!region->is_open) {
    PyErr_SetString(PyExc_RuntimeError, "this region is not open");
    return nullptr;
  }
  region->is_open = false;
  if (t_depth > 0) --t_depth;
  try {
    const std::lock_guard lock(region->owner->mutex);
    region->owner->finished.push_back(
        {{region->start_ns, end_ns, region->items, PyThread_get_thread_ident(), 0, region->depth}, region->name});
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  Py_INCREF(region->name);
  if (!is_synced) return nullptr;
  Py_RETURN_NONE;
}

template <typename Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_region_methods[] = {
    {"__enter__", region_enter, METH_NOARGS, nullptr},
    {"__exit__", as_method(region_exit), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot g_region_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(region_dealloc)},
    {Py_tp_methods, g_region_methods},
    {0, nullptr},
};

PyType_Spec g_region_spec = {"powerprobe._core.Region", sizeof(RegionObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, g_region_slots};

PyType_Slot g_synced_region_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(synced_region_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(synced_region_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(synced_region_clear)},
    {Py_tp_methods, g_region_methods},
    {0, nullptr},
};

PyType_Spec g_synced_region_spec = {"powerprobe._core.SyncedRegion", sizeof(RegionObject), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                    g_synced_region_slots};

// ---- Regions

// Regions(auto_sync)
PyObject* regions_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* auto_sync = nullptr;
  static const char* keywords[] = {"auto_sync", nullptr};
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "O:Regions", const_cast<char**>(keywords), &auto_sync) == 0) return nullptr;
  PyObject* const self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  Py_INCREF(auto_sync);
  as_regions(self)->auto_sync = auto_sync;
  new (&as_regions(self)->mutex) std::mutex;
  new (&as_regions(self)->finished) std::vector<Finished>;
  return self;
}

void regions_dealloc(PyObject* self) {
  RegionsObject* const regions = as_regions(self);
  for (const Finished& finished : regions->finished) Py_DECREF(finished.name);
  Py_XDECREF(regions->auto_sync);
  regions->finished.~vector();
  regions->mutex.~mutex();
  PyTypeObject* const type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

// A new reference in `out`, nullptr where there is nothing to call.
bool as_sync(RegionsObject* regions, PyObject* given, PyObject** out) {
  *out = nullptr;
  if (given == nullptr || given == Py_None) return true;
  if (PyUnicode_Check(given) && PyUnicode_CompareWithASCIIString(given, "auto") == 0) given = regions->auto_sync;
  if (PyCallable_Check(given) == 0) {
    PyErr_Format(PyExc_TypeError, "sync must be a callable without arguments, \"auto\" or None, not %R", given);
    return false;
  }
  Py_INCREF(given);
  *out = given;
  return true;
}

// region(name, items=1.0, sync=None)
PyObject* regions_region(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  PyObject* name = count > 0 ? args[0] : nullptr;
  PyObject* items = count > 1 ? args[1] : nullptr;
  PyObject* given_sync = count > 2 ? args[2] : nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  if (count > 3) {
    PyErr_SetString(PyExc_TypeError, "region() takes a name, items and sync, no more");
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const keyword = PyTuple_GET_ITEM(keywords, i);
    const auto is = [keyword](const char* what) { return PyUnicode_CompareWithASCIIString(keyword, what) == 0; };
    PyObject** const target = is("items") ? &items : is("sync") ? &given_sync : is("name") ? &name : nullptr;
    if (target == nullptr || *target != nullptr) {
      PyErr_Format(PyExc_TypeError, "region() got an unexpected or repeated argument '%U'", keyword);
      return nullptr;
    }
    *target = args[count + i];
  }
  if (name == nullptr || !PyUnicode_Check(name)) {
    PyErr_SetString(PyExc_TypeError, "region() needs a name, a str");
    return nullptr;
  }
  double value = 1.0;
  if (items != nullptr) {
    value = PyFloat_AsDouble(items);
    if (value == -1.0 && PyErr_Occurred() != nullptr) return nullptr;
    if (!(value >= 0.0)) {
      PyErr_SetString(PyExc_ValueError, "items must not be negative");
      return nullptr;
    }
  }
  PyObject* sync = nullptr;
  if (given_sync != nullptr && !as_sync(as_regions(self), given_sync, &sync)) return nullptr;
  RegionObject* const region =
      sync == nullptr ? PyObject_New(RegionObject, g_region_type) : PyObject_GC_New(RegionObject, g_synced_region_type);
  if (region == nullptr) {
    Py_XDECREF(sync);
    return nullptr;
  }
  Py_INCREF(self);
  Py_INCREF(name);
  region->owner = as_regions(self);
  region->name = name;
  region->sync = sync;
  region->items = value;
  region->start_ns = 0;
  region->depth = 0;
  region->is_open = false;
  if (sync != nullptr) PyObject_GC_Track(region);
  return reinterpret_cast<PyObject*>(region);
}

PyObject* take(RegionsObject* regions) {
  std::vector<Finished> finished;
  {
    const std::lock_guard lock(regions->mutex);
    finished.swap(regions->finished);
  }
  py::list names;
  py::dict index;
  py::array_t<RegionRecord> records(static_cast<py::ssize_t>(finished.size()));
  RegionRecord* out = records.mutable_data();
  for (Finished& entry : finished) {
    const py::object name = py::reinterpret_steal<py::object>(entry.name);
    if (!index.contains(name)) {
      index[name] = names.size();
      names.append(name);
    }
    entry.record.name = index[name].cast<std::uint32_t>();
    *out++ = entry.record;
  }
  return py::make_tuple(names, records).release().ptr();
}

PyObject* regions_take(PyObject* self, PyObject* /*unused*/) {
  try {
    return take(as_regions(self));
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

Py_ssize_t regions_length(PyObject* self) {
  const std::lock_guard lock(as_regions(self)->mutex);
  return static_cast<Py_ssize_t>(as_regions(self)->finished.size());
}

PyMethodDef g_regions_methods[] = {
    {"region", as_method(regions_region), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"take", regions_take, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot g_regions_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(regions_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(regions_dealloc)},
    {Py_tp_methods, g_regions_methods},
    {Py_sq_length, reinterpret_cast<void*>(regions_length)},
    {0, nullptr},
};

PyType_Spec g_regions_spec = {"powerprobe._core.Regions", sizeof(RegionsObject), 0, Py_TPFLAGS_DEFAULT, g_regions_slots};

py::object make_type(PyType_Spec& spec) {
  auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  return type;
}

}  // namespace

void bind_regions(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(RegionRecord, start_ns, end_ns, items, thread, name, depth);
  const auto add = [&m](const char* name, PyType_Spec& spec) {
    const py::object type = make_type(spec);
    m.attr(name) = type;
    return reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());  // lives as long as the process
  };
  g_region_type = add("Region", g_region_spec);
  g_synced_region_type = add("SyncedRegion", g_synced_region_spec);
  m.attr("Regions") = make_type(g_regions_spec);
}

}  // namespace powerprobe::bindings
