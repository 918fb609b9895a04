#include "csrc/bindings/front_binding.h"

#include <linux/sockios.h>
#include <poll.h>
#include <pybind11/stl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/bindings/engine_binding.h"
#include "csrc/bindings/histograms.h"
#include "csrc/front/front.h"
#include "csrc/front/socket_reader.h"

namespace pelton {
namespace {

// An error of Python's in a place that cannot raise: shown, then dropped.
void show_error(const char* where) { PyErr_WriteUnraisable(PyUnicode_InternFromString(where)); }

// Calls a method and drops its result.
void call(const py::handle& object, PyObject* name, PyObject* argument = nullptr) {
  PyObject* const result = argument == nullptr
                               ? PyObject_CallMethodNoArgs(object.ptr(), name)
                               : PyObject_CallMethodOneArg(object.ptr(), name, argument);
  if (result == nullptr) return PyErr_WriteUnraisable(name);
  Py_DECREF(result);
}

// Interned once for the life of the process.
struct Names {
  PyObject* write = PyUnicode_InternFromString("write");
  PyObject* write_eof = PyUnicode_InternFromString("write_eof");
  PyObject* can_write_eof = PyUnicode_InternFromString("can_write_eof");
  PyObject* get_write_buffer_size = PyUnicode_InternFromString("get_write_buffer_size");
  PyObject* close = PyUnicode_InternFromString("close");
  PyObject* abort = PyUnicode_InternFromString("abort");
  PyObject* pause_reading = PyUnicode_InternFromString("pause_reading");
  PyObject* resume_reading = PyUnicode_InternFromString("resume_reading");
  PyObject* probe = PyUnicode_InternFromString("probe");
  PyObject* forward = PyUnicode_InternFromString("forward");
  PyObject* take_back = PyUnicode_InternFromString("take_back");
};
const Names& names() {
  static const Names all;
  return all;
}

// uvloop's transport, and the protocol object that messages are forwarded to. A plain socket is
// read and written here, and by uvloop only before its first bytes and where its buffer is full.
class LoopTransport final : public Transport {
 public:
  LoopTransport(SocketReader& reader, Connection& connection) : reader_(reader) {
    socket_.connection = &connection;
    socket_.transport = this;
  }

  // `fd`: the socket, negative where there is none to be seen. `is_plain`: what is written to the
  // transport goes to the socket as it is.
  void attach(py::object transport, py::object protocol, int fd, bool is_plain) {
    transport_ = std::move(transport);
    protocol_ = std::move(protocol);
    fd_ = fd;
    is_plain_ = is_plain && fd >= 0;
  }
  // From now on the socket is read here. Where that cannot be, uvloop goes on.
  void take_over_reading() {
    if (!is_plain_ || socket_.fd >= 0) return;
    socket_.fd = fd_;
    if (reader_.add(socket_).ok()) call(transport_, names().pause_reading);
  }
  void detach() {
    reader_.remove(socket_);
    transport_ = py::object();
    protocol_ = py::object();
    fd_ = -1;
    is_plain_ = false;
  }

  // Straight to the socket where nothing waits before it: uvloop would copy the bytes into an
  // object, queue it and make the same system call. What the socket does not take is uvloop's.
  void write(std::string_view bytes) override {
    if (is_plain_ && (!may_be_queued_ || is_queue_empty())) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
      if (bytes.empty()) return;
    }
    may_be_queued_ = true;
    call_with_bytes(transport_, names().write, bytes);
  }
  void forward(std::string_view bytes) override {
    may_be_queued_ = true;  // the other protocol's answer
    call_with_bytes(protocol_, names().forward, bytes);
  }
  bool take_back() override { return protocol_ && is_true(protocol_, names().take_back); }
  void probe_forwarded() override {
    if (protocol_) call(protocol_, names().probe);
  }
  void pause_reading() override {
    if (socket_.fd >= 0) return reader_.pause(socket_);
    call_if_open(names().pause_reading);
  }
  void resume_reading() override {
    if (socket_.fd >= 0) return reader_.resume(socket_);
    call_if_open(names().resume_reading);
  }
  void close() override { call_if_open(names().close); }
  void abort() override { call_if_open(names().abort); }
  void finish_writing() override {
    if (transport_ && is_true(transport_, names().can_write_eof)) call_if_open(names().write_eof);
  }
  size_t unsent_bytes() const override {
    return transport_ ? queued_bytes() + bytes_in_socket() : 0;
  }
  bool is_reset() const override {
    if (fd_ < 0) return false;
    pollfd poller{fd_, 0, 0};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLERR | POLLHUP)) != 0;
  }

 private:
  static void call_with_bytes(const py::object& object, PyObject* name, std::string_view bytes) {
    if (!object) return;
    PyObject* const copy =
        PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
    if (copy == nullptr) return PyErr_WriteUnraisable(name);
    call(object, name, copy);
    Py_DECREF(copy);
  }
  void call_if_open(PyObject* name) {
    if (transport_) call(transport_, name);
  }

  static bool is_true(const py::object& object, PyObject* name) {
    PyObject* const result = PyObject_CallMethodNoArgs(object.ptr(), name);
    if (result == nullptr) PyErr_WriteUnraisable(name);
    const bool is_it = result == Py_True;
    Py_XDECREF(result);
    return is_it;
  }

  // The system's buffer gives no room before much of it is free: a slow reader that is steady takes
  // bytes long before uvloop can write some.
  size_t bytes_in_socket() const {
    int bytes = 0;
    return is_plain_ && ioctl(fd_, SIOCOUTQ, &bytes) == 0 ? static_cast<size_t>(bytes) : 0;
  }
  // In uvloop's buffer.
  size_t queued_bytes() const {
    PyObject* const size =
        PyObject_CallMethodNoArgs(transport_.ptr(), names().get_write_buffer_size);
    if (size == nullptr) {
      PyErr_WriteUnraisable(names().get_write_buffer_size);
      return SIZE_MAX;
    }
    const size_t bytes = PyLong_AsSize_t(size);
    Py_DECREF(size);
    return bytes;
  }
  bool is_queue_empty() {
    may_be_queued_ = queued_bytes() != 0;
    return !may_be_queued_;
  }

  SocketReader& reader_;
  SocketReader::Socket socket_;
  py::object transport_;
  py::object protocol_;
  int fd_ = -1;
  bool is_plain_ = false;
  bool may_be_queued_ = false;  // bytes may wait in the transport
};

// The loop's side of a Front: an object of pelton.bridge.front.
class PythonHooks final : public LoopHooks {
 public:
  explicit PythonHooks(py::object hooks) : hooks_(std::move(hooks)) {}

  void release() { hooks_ = py::none(); }

  void call_at_turn_end() override {
    guarded([&] { hooks_.attr("call_at_turn_end")(); });
  }
  void call_at(Nanos when) override {
    guarded([&] { hooks_.attr("call_at")(when); });
  }
  void compress(uint64_t job_number, std::string_view coding, std::string_view body) override {
    guarded([&] { hooks_.attr("compress")(job_number, std::string(coding), py::bytes(body)); });
  }
  void log_client_gone(std::string_view path, std::string_view request_id) override {
    guarded([&] { hooks_.attr("log_client_gone")(latin1(path), latin1(request_id)); });
  }
  void log_failure(std::string_view path, std::string_view request_id,
                   std::string_view message) override {
    guarded([&] {
      hooks_.attr("log_failure")(latin1(path), latin1(request_id), std::string(message));
    });
  }

 private:
  static py::object latin1(std::string_view text) {
    return py::reinterpret_steal<py::object>(
        PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
  }
  template <typename Function>
  static void guarded(Function function) {
    try {
      function();
    } catch (py::error_already_set& error) {
      error.restore();
      show_error("pelton's hooks of the event loop");
    }
  }

  py::object hooks_;
};

std::vector<TensorSpec> tensor_specs(const py::handle& list) {
  std::vector<TensorSpec> specs;
  for (const py::handle& item : list) {
    const auto [name, dtype, shape] =
        item.cast<std::tuple<std::string, int, std::vector<int64_t>>>();
    const auto known = dtype_from_number(static_cast<uint8_t>(dtype));
    if (!known)
      raise_status(invalid_argument("no datatype has the number " + std::to_string(dtype)));
    specs.push_back({name, *known, shape});
  }
  return specs;
}

template <typename T>
void read(const py::dict& values, const char* name, T& into) {
  if (values.contains(name)) into = values[name].cast<T>();
}

void read_nanos(const py::dict& values, const char* name, Nanos& into) {
  if (values.contains(name)) into = static_cast<Nanos>(values[name].cast<double>() * 1e9);
}

EncoderContract encoder_contract(const py::dict& values) {
  EncoderContract encoder;
  read(values, "positions_max", encoder.positions_max);
  read(values, "vocabulary_size", encoder.vocabulary_size);
  read(values, "token_types", encoder.token_types);
  read(values, "ids_index", encoder.ids_index);
  read(values, "types_index", encoder.types_index);
  read(values, "tokens_max", encoder.tokens_max);
  read(values, "text_bytes_max", encoder.text_bytes_max);
  read(values, "truncate", encoder.truncate);
  if (values.contains("tokenizer") && !values["tokenizer"].is_none()) {
    encoder.tokenizer = values["tokenizer"].cast<std::shared_ptr<WordPiece>>();
  }
  return encoder;
}

ModelContract model_contract(const py::dict& values) {
  ModelContract contract;
  read(values, "name", contract.name);
  read(values, "version", contract.version);
  contract.inputs = tensor_specs(values["inputs"]);
  contract.alternatives = tensor_specs(values["alternatives"]);
  contract.outputs = tensor_specs(values["outputs"]);
  if (!values["encoder"].is_none()) contract.encoder = encoder_contract(values["encoder"]);
  read(values, "allow_non_finite", contract.allow_non_finite);
  return contract;
}

ModelGates::Options gate_options(const py::dict& values) {
  ModelGates::Options options;
  read(values, "body_bytes_max", options.body_bytes_max);
  read(values, "concurrency_max", options.concurrency_max);
  read(values, "queue_rows_max", options.queue_rows_max);
  read(values, "batch_rows_max", options.batch.batch_rows_max);
  read(values, "batch_tokens_max", options.batch.batch_tokens_max);
  return options;
}

FrontOptions front_options(const py::dict& values) {
  FrontOptions options;
  read(values, "body_bytes_max", options.decode.body_bytes_max);
  read(values, "head_bytes_max", options.decode.head_bytes_max);
  read(values, "string_bytes_max", options.decode.string_bytes_max);
  read(values, "requests_max", options.requests_max);
  read(values, "bodies_bytes_max", options.bodies_bytes_max);
  read(values, "connections_max", options.connections_max);
  read(values, "compress_bytes_min", options.compress_bytes_min);
  read_nanos(values, "head_s_max", options.head_max);
  read_nanos(values, "keep_alive_s", options.keep_alive);
  read_nanos(values, "body_grace_s", options.body_grace);
  read_nanos(values, "write_stall_s_max", options.write_stall_max);
  read_nanos(values, "deadline_s_default", options.deadline_default);
  return options;
}

// A version of a model for Python: what counts its requests, and whether any is under way.
class PythonServedModel {
 public:
  PythonServedModel(const py::object& engine, ModelId id, const py::dict& contract,
                    const py::dict& limits) {
    ServedModel::Options options;
    options.contract = model_contract(contract);
    const EngineModel found = engine_model(engine, id);
    options.engine = found.engine;
    options.runner = found.runner;
    options.id = id;
    read(limits, "batch_rows_max", options.piece_rows_max);
    read(limits, "batch_tokens_max", options.piece_tokens_max);
    read(limits, "pieces_in_flight_max", options.pieces_in_flight_max);
    options.gates = gate_options(limits);
    options.gates.request_rows_max = options.piece_rows_max * options.pieces_in_flight_max;
    // The engine's Python object goes with the model, which names it.
    auto* const engine_owner = new py::object(engine);
    const std::shared_ptr<py::object> owner(engine_owner, [](py::object* object) {
      const py::gil_scoped_acquire gil;
      delete object;
    });
    model_.reset(new ServedModel(std::move(options)),
                 [owner](ServedModel* served) { delete served; });
  }

  const std::shared_ptr<ServedModel>& model() const { return model_; }
  // Whether a front serves it, or a request is under way. Once false it stays so, unless it is
  // given to a front again.
  bool is_in_use() const { return model_.use_count() > 1; }

  // What was counted of its requests.
  py::dict counts() const {
    const ModelCountersSnapshot counts = model_->gates().counters().snapshot();
    py::dict outcomes;
    outcomes["ok"] = counts.ok;
    for (size_t kind = 1; kind < kProblemKindCount; ++kind) {
      if (counts.problems[kind] == 0) continue;
      const std::string_view slug = problem_status(static_cast<ProblemKind>(kind)).code;
      outcomes[py::str(slug.data(), slug.size())] = counts.problems[kind];
    }
    py::dict result;
    result["outcomes"] = outcomes;
    result["decode_seconds"] = histogram_dict(counts.decode_ns, kSecondsBoundsNs, 1e-9);
    result["encode_seconds"] = histogram_dict(counts.encode_ns, kSecondsBoundsNs, 1e-9);
    return result;
  }

 private:
  std::shared_ptr<ServedModel> model_;
};

// Front for Python. Connections hold it, so it outlives them.
class PythonFront {
 public:
  PythonFront(const py::object& hooks, const py::dict& options)
      : hooks_(hooks), front_(front_options(options), hooks_), reader_(front_) {
    raise_unless_ok(front_.status());
    raise_unless_ok(reader_.status());
  }
  ~PythonFront() { close(); }

  Front& front() { return front_; }
  SocketReader& reader() { return reader_; }
  int fileno() const { return reader_.fd(); }
  void on_ready() { reader_.read_ready(); }
  void end_turn() { front_.end_turn(); }
  void on_timer() { front_.on_timer(); }
  void sweep() { front_.sweep(); }
  void on_compressed(uint64_t number, const py::bytes& body) {
    front_.on_compressed(number, std::string_view(body));
  }
  void set_common_fields(const py::bytes& lines) {
    front_.set_common_fields(std::string(std::string_view(lines)));
  }
  void set_draining() { front_.set_draining(); }
  // The hooks hold this object, through which they are let go.
  void close() {
    front_.close();
    hooks_.release();
  }

  void set_model(const std::string& name, const std::vector<PythonServedModel>& versions) {
    ServedVersions served;
    for (const PythonServedModel& version : versions) served.push_back(version.model());
    front_.set_model(name, std::move(served));
  }
  void remove_model(const std::string& name) { front_.remove_model(name); }

  py::dict stats() const {
    const FrontStats stats = front_.stats();
    py::dict result;
    result["accepted"] = stats.accepted;
    result["answered"] = stats.answered;
    result["forwarded"] = stats.forwarded;
    result["refused_messages"] = stats.refused_messages;
    result["clients_gone"] = stats.clients_gone;
    result["body_bytes"] = stats.body_bytes;
    result["connections"] = front_.connection_count();
    return result;
  }

 private:
  PythonHooks hooks_;
  Front front_;
  SocketReader reader_;
};

// Connection for Python, with its transport.
class PythonConnection {
 public:
  explicit PythonConnection(std::shared_ptr<PythonFront> front)
      : front_(std::move(front)),
        transport_(front_->reader(), connection_),
        connection_(front_->front(), transport_) {}
  ~PythonConnection() { lost(); }

  void opened(py::object transport, py::object protocol, int fd, bool is_plain) {
    transport_.attach(std::move(transport), std::move(protocol), fd, is_plain);
    connection_.opened();
  }
  void lost() {
    connection_.lost();
    transport_.detach();
  }
  Connection& connection() { return connection_; }

  // The builtin that the loop calls with what it read: no Python frame, no dispatch in between.
  static py::object data_received(const py::object& self) {
    static PyMethodDef method = {"data_received", &PythonConnection::received, METH_O, nullptr};
    auto* const connection = self.cast<PythonConnection*>();
    PyObject* const capsule = PyCapsule_New(connection, nullptr, [](PyObject* object) {
      Py_XDECREF(static_cast<PyObject*>(PyCapsule_GetContext(object)));
    });
    if (capsule == nullptr) throw py::error_already_set();
    const py::object owned = py::reinterpret_steal<py::object>(capsule);
    Py_INCREF(self.ptr());
    PyCapsule_SetContext(capsule, self.ptr());
    PyObject* const function = PyCFunction_New(&method, capsule);
    if (function == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(function);
  }

 private:
  static PyObject* received(PyObject* capsule, PyObject* data) {
    char* bytes = nullptr;
    Py_ssize_t count = 0;
    if (PyBytes_AsStringAndSize(data, &bytes, &count) != 0) return nullptr;
    auto* const self = static_cast<PythonConnection*>(PyCapsule_GetPointer(capsule, nullptr));
    self->transport_.take_over_reading();
    self->connection_.received({bytes, static_cast<size_t>(count)});
    Py_RETURN_NONE;
  }

  std::shared_ptr<PythonFront> front_;
  LoopTransport transport_;
  Connection connection_;
};

}  // namespace

void bind_front(py::module_& module) {
  py::class_<PythonServedModel>(module, "ServedModel",
                                "A version of a model, as the request path serves it.")
      .def(py::init<const py::object&, ModelId, const py::dict&, const py::dict&>(),
           py::arg("engine"), py::arg("model"), py::arg("contract"), py::arg("limits"))
      .def_property_readonly("is_in_use", &PythonServedModel::is_in_use)
      .def("counts", &PythonServedModel::counts);

  py::class_<PythonFront, std::shared_ptr<PythonFront>>(module, "Front",
                                                        "The request path of one event loop.")
      .def(py::init<const py::object&, const py::dict&>(), py::arg("hooks"), py::arg("options"))
      .def("fileno", &PythonFront::fileno)
      .def("on_ready", &PythonFront::on_ready)
      .def("end_turn", &PythonFront::end_turn)
      .def("on_timer", &PythonFront::on_timer)
      .def("sweep", &PythonFront::sweep)
      .def("on_compressed", &PythonFront::on_compressed, py::arg("number"), py::arg("body"))
      .def("set_common_fields", &PythonFront::set_common_fields, py::arg("lines"))
      .def("set_draining", &PythonFront::set_draining)
      .def("set_model", &PythonFront::set_model, py::arg("name"), py::arg("versions"))
      .def("remove_model", &PythonFront::remove_model, py::arg("name"))
      .def("stats", &PythonFront::stats)
      .def("close", &PythonFront::close);

  py::class_<PythonConnection>(module, "Connection", "The bytes of one client.")
      .def(py::init<std::shared_ptr<PythonFront>>(), py::arg("front"))
      .def_property_readonly("data_received", &PythonConnection::data_received)
      .def("opened", &PythonConnection::opened, py::arg("transport"), py::arg("protocol"),
           py::arg("fd"), py::arg("is_plain"))
      .def("received_eof", [](PythonConnection& self) { return self.connection().received_eof(); })
      .def("lost", &PythonConnection::lost)
      .def("pause_writing", [](PythonConnection& self) { self.connection().pause_writing(); })
      .def("resume_writing", [](PythonConnection& self) { self.connection().resume_writing(); })
      .def(
          "forwarded_answered",
          [](PythonConnection& self, bool is_closing) {
            self.connection().forwarded_answered(is_closing);
          },
          py::arg("is_closing"))
      .def("pause_reading",
           [](PythonConnection& self) { self.connection().set_forward_paused(true); })
      .def("resume_reading",
           [](PythonConnection& self) { self.connection().set_forward_paused(false); })
      .def_property_readonly("has_waiting",
                             [](PythonConnection& self) { return self.connection().has_waiting(); })
      .def_property_readonly("is_idle",
                             [](PythonConnection& self) { return self.connection().is_idle(); });
}

}  // namespace pelton
