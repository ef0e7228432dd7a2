// Ranks on GPUs of their own, in one process or in many: NCCL carries the collectives.
#pragma once

#ifdef FPF_WITH_CUDA

#include <ATen/ops/zeros.h>

#include <fpf/device/kernels.hpp>
#include <fpf/parallel/meeting.hpp>
#include <fpf/parallel/nccl_api.hpp>
#include <fpf/parallel/world.hpp>
#include <future>

namespace fpf::parallel {

/// One rank's NCCL communicator. Sums are in the tensors' dtype, in the order of NCCL's ring: of two ranks the same
/// bits as in rank order.
class Nccl : public Communicator {
 public:
  /// The communicators of one process's threads, rank r on devices[r].
  static std::vector<std::shared_ptr<Communicator>> make(const std::vector<at::Device>& devices) {
    const nccl::Api& api = nccl::api();
    ncclUniqueId id;
    api.check(api.get_unique_id(&id), "ncclGetUniqueId");
    std::vector<ncclComm_t> handles(devices.size());
    api.check(api.group_start(), "ncclGroupStart");
    for (std::size_t r = 0; r < devices.size(); ++r) {
      device::enter(devices[r]);
      begin(handles[r], static_cast<int>(devices.size()), id, static_cast<int>(r));
    }
    api.check(api.group_end(), "ncclCommInitRank");
    device::enter(devices.front());
    const auto meeting = std::make_shared<Meeting>(static_cast<int>(devices.size()));
    std::vector<std::shared_ptr<Communicator>> out;
    for (std::size_t r = 0; r < devices.size(); ++r)
      out.push_back(std::make_shared<Nccl>(handles[r], static_cast<int>(r), devices[r], meeting, nullptr));
    return out;
  }

  /// The communicator of this process's one rank. Throws Error when a rank fails meanwhile.
  static std::shared_ptr<Communicator> join(World& world, at::Device device) {
    const nccl::Api& api = nccl::api();
    ncclUniqueId id{};
    if (world.is_root()) api.check(api.get_unique_id(&id), "ncclGetUniqueId");
    const std::string common = world.from_root({id.internal, sizeof id.internal});
    std::copy(common.begin(), common.end(), id.internal);
    // On a thread, so that this rank can end while NCCL waits for one that does not come.
    auto handle = std::make_shared<std::promise<ncclComm_t>>();
    auto ready = handle->get_future();
    std::thread([handle, id, device, rank = world.rank(), size = world.size()] {
      try {
        device::enter(device);
        ncclComm_t made = nullptr;
        begin(made, size, id, rank);
        handle->set_value(made);
      } catch (...) {
        handle->set_exception(std::current_exception());
      }
    }).detach();
    while (ready.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) world.check();
    return std::make_shared<Nccl>(ready.get(), world.rank(), device, nullptr, &world);
  }

  /// One of the two: the threads that hold the other ranks, or the processes.
  Nccl(ncclComm_t handle, int rank, at::Device device, std::shared_ptr<Meeting> threads, World* world)
      : handle_(handle),
        rank_(rank),
        size_(threads ? threads->size() : world->size()),
        device_(device),
        threads_(std::move(threads)),
        world_(world) {
    if (world_ != nullptr) world_->on_failure([this] { abort(); });
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;
  ~Nccl() override {
    if (world_ != nullptr) world_->on_failure({});
    if (!aborted_) nccl::api().comm_destroy(handle_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool can_capture() const override { return true; }

  void all_reduce(const at::Tensor& t) override {
    call("ncclAllReduce", nccl::api().all_reduce, t.const_data_ptr(), t.data_ptr(), count(t), type(t), ncclSum);
  }
  void all_gather(const at::Tensor& t, const at::Tensor& out) override {
    call("ncclAllGather", nccl::api().all_gather, t.const_data_ptr(), out.data_ptr(), count(t), type(t));
  }
  void broadcast(const at::Tensor& t, int root) override {
    call("ncclBroadcast", nccl::api().broadcast, t.const_data_ptr(), t.data_ptr(), count(t), type(t), root);
  }
  void barrier() override {
    const at::Tensor one = at::zeros({1}, at::TensorOptions(at::kFloat).device(device_));
    all_reduce(one);
    static_cast<void>(one.cpu());
    check();
  }

  /// Ends NCCL's kernels that wait on this rank's GPU, too.
  void abort() noexcept override {
    if (threads_) threads_->abort();
    if (!aborted_.exchange(true)) nccl::api().comm_abort(handle_);
  }
  void check() const override {
    if (world_ != nullptr) world_->check();
    if (threads_) threads_->check();
    if (aborted_) throw Aborted();
    ncclResult_t state = ncclSuccess;
    nccl::api().check(nccl::api().comm_get_async_error(handle_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) nccl::api().check(state, "a collective under way");
  }

  nlohmann::ordered_json describe() const override {
    nlohmann::ordered_json settings;
    for (const auto& [name, value] : nccl::pinned) settings[name] = std::getenv(name);
    return {{"kind", "nccl"},
            {"emulated", false},
            {"processes", world_ == nullptr ? 1 : size_},
            {"version", nccl::version()},
            {"settings", settings},
            {"sum", "in the ring's order, in the activations' dtype"}};
  }

 private:
  static void begin(ncclComm_t& handle, int size, const ncclUniqueId& id, int rank) {
    nccl::api().check(nccl::api().comm_init_rank(&handle, size, id, rank), "ncclCommInitRank");
  }

  static std::size_t count(const at::Tensor& t) { return static_cast<std::size_t>(t.numel()); }
  static ncclDataType_t type(const at::Tensor& t) {
    switch (t.scalar_type()) {
      case at::kFloat:
        return ncclFloat32;
      case at::kHalf:
        return ncclFloat16;
      case at::kBFloat16:
        return ncclBfloat16;
      default:
        fail("ranks exchange float32, float16 or bfloat16, not {}", c10::toString(t.scalar_type()));
    }
  }

  template <class Function, class... Arguments>
  void call(const char* name, Function function, Arguments... arguments) {
    check();
    nccl::api().check(function(arguments..., handle_, device::current_stream(device_)), name);
    // Of threads, none goes on while one has still to enqueue its part: a call that waits for its GPU while it holds a
    // lock of CUDA's (loading a kernel, memory) would wait for ever.
    if (threads_) threads_->meet();
  }

  ncclComm_t handle_;
  int rank_, size_;
  at::Device device_;
  std::shared_ptr<Meeting> threads_;
  World* world_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace fpf::parallel

#endif
