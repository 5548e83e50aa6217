// Two CUDA devices that exist only by name, for a build of torch without CUDA. With them, tensors that say `cuda:N` can
// be made and differentiated: torch asks for the number of devices, the current one, and streams; nothing else.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

constexpr c10::DeviceIndex kDevices = 2;
thread_local c10::DeviceIndex current = 0;

c10::DeviceIndex exchange(c10::DeviceIndex device) {
  const c10::DeviceIndex before = current;
  current = device;
  return before;
}

c10::Stream only_stream(c10::Device device) {
  return c10::Stream(c10::Stream::DEFAULT, device);
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override {
    return c10::DeviceType::CUDA;
  }
  c10::Device getDevice() const override {
    return c10::Device(c10::DeviceType::CUDA, current);
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    return c10::Device(c10::DeviceType::CUDA, exchange(device.index()));
  }
  void setDevice(c10::Device device) const override {
    current = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    current = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return kDevices;
  }
  c10::Stream getStream(c10::Device device) const override {
    return only_stream(device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return only_stream(device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return only_stream(stream.device());
  }
  bool queryStream(const c10::Stream&) const override {
    return true;
  }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override {
    return true;
  }
};

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return true;
  }
  bool hasCUDA() const override {
    return true;
  }
  bool hasPrimaryContext(c10::DeviceIndex) const override {
    return true;
  }
  int getNumGPUs() const override {
    return kDevices;
  }
  c10::DeviceIndex deviceCount() const override {
    return kDevices;
  }
  c10::DeviceIndex current_device() const override {
    return current;
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return current;
  }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    current = device;
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    return exchange(device);
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return exchange(device);
  }
};

} // namespace

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
} // namespace c10::impl

namespace at {
using CUDAHooks = ::Hooks;
REGISTER_CUDA_HOOKS(CUDAHooks);
} // namespace at

extern "C" int current_device() {
  return current;
}
