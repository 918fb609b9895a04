#include "csrc/front/offload.h"

#include <pthread.h>

#include <utility>

namespace pelton {

bool Offload::submit(Task task) {
  if (!completions_.try_reserve()) return false;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() < kWaitingMax && !is_closing_) {
      waiting_.push_back(std::move(task));
      task.job = nullptr;
    }
  }
  if (task.job != nullptr) {
    completions_.cancel_reservation();
    return false;
  }
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { work(); });
    pthread_setname_np(thread_.native_handle(), "pelton-offload");
  }
  changed_.notify_one();
  return true;
}

void Offload::close() {
  {
    const std::lock_guard lock(mutex_);
    is_closing_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Offload::work() {
  PrepareMemory memory;
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !waiting_.empty() || is_closing_; });
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (task.kind == OffloadKind::kPrepare) {
      prepare(*task.job, {*task.models, *task.limits, task.deadline_default}, memory);
    } else {
      encode_answer(*task.job, memory);
    }
    Completion done;
    done.user = task.job;
    completions_.push(std::move(done));
    completions_.flush(1);
  }
}

}  // namespace pelton
