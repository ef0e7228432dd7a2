// What a cubin says about its kernels: registers, stack, shared memory, machine code. Read from the ELF file
// itself, so that no disassembler is needed where the question arises (a test without a GPU, a user's
// machine).
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fpf/core/error.hpp>
#include <fpf/core/hash.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::kernel {

/// One kernel's needs and code.
struct KernelResources {
  std::string symbol;
  std::uint32_t registers = 0;     // per thread
  std::uint32_t stack_bytes = 0;   // per thread: spilled registers and arrays with run-time indices; 0 in a hot kernel
  std::uint64_t shared_bytes = 0;  // static, per block
  std::uint32_t max_threads = 0;   // of a block, from __launch_bounds__; 0 without
  std::uint64_t code_bytes = 0;
  std::uint64_t instructions = 0;  // 16 bytes each from sm_70 on
  std::string code_sha256;         // of the text section alone: equal hashes are equal machine code
};

namespace detail {

/// Bounds-checked views into an ELF image.
class ElfView {
 public:
  explicit ElfView(std::span<const std::byte> image) : image_(image) {
    header_ = read<Elf64_Ehdr>(0);
    if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) fail("not a cubin: no ELF header");
    for (unsigned i = 0; i < header_.e_shnum; ++i)
      sections_.push_back(read<Elf64_Shdr>(header_.e_shoff + std::uint64_t{i} * header_.e_shentsize));
    if (header_.e_shstrndx >= sections_.size()) fail("not a cubin: no section names");
  }

  const std::vector<Elf64_Shdr>& sections() const { return sections_; }
  std::string_view name(const Elf64_Shdr& section) const {
    return text(sections_[header_.e_shstrndx], section.sh_name);
  }
  std::span<const std::byte> data(const Elf64_Shdr& section) const {
    if (section.sh_type == SHT_NOBITS) return {};
    if (section.sh_offset > image_.size() || section.sh_size > image_.size() - section.sh_offset)
      fail("not a cubin: a section of {} bytes at {} lies outside its {} bytes", section.sh_size, section.sh_offset,
           image_.size());
    return image_.subspan(section.sh_offset, section.sh_size);
  }
  std::string_view text(const Elf64_Shdr& strings, std::size_t offset) const {
    const auto bytes = data(strings);
    if (offset >= bytes.size()) fail("not a cubin: a name lies outside its string table");
    const auto* begin = reinterpret_cast<const char*>(bytes.data()) + offset;
    return {begin, ::strnlen(begin, bytes.size() - offset)};
  }
  template <class T>
  T read(std::uint64_t offset) const {
    return read<T>(image_, offset);
  }
  template <class T>
  static T read(std::span<const std::byte> bytes, std::uint64_t offset) {
    if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) fail("not a cubin: it ends too early");
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> image_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Shdr> sections_;
};

// Attributes of the .nv.info sections: {format, attribute, size or value}, then `size` bytes where format
// is 4.
inline constexpr std::uint8_t info_sized = 0x04, info_max_threads = 0x05, info_frame_size = 0x11,
                              info_register_count = 0x2f;

/// Calls `use(attribute, value bytes)` for the sized attributes of a section.
template <class Use>
void for_attributes(std::span<const std::byte> section, const Use& use) {
  for (std::uint64_t at = 0; at + 4 <= section.size();) {
    const auto format = ElfView::read<std::uint8_t>(section, at);
    const auto attribute = ElfView::read<std::uint8_t>(section, at + 1);
    const auto size = ElfView::read<std::uint16_t>(section, at + 2);
    at += 4;
    if (format != info_sized) continue;  // the "size" was its value
    if (size > section.size() - at) fail("not a cubin: an attribute is longer than its section");
    use(attribute, section.subspan(at, size));
    at += size;
  }
}

}  // namespace detail

/// The kernels (and device functions that were not inlined) in a cubin. Throws Error when it is none.
inline std::vector<KernelResources> kernel_resources(std::span<const std::byte> cubin) {
  const detail::ElfView elf(cubin);
  std::vector<KernelResources> kernels;
  std::vector<std::uint32_t> symbol_index;  // of each kernel, parallel to `kernels`
  const Elf64_Shdr *symbols = nullptr, *info = nullptr;
  for (const auto& section : elf.sections()) {
    const std::string_view name = elf.name(section);
    if (section.sh_type == SHT_SYMTAB) symbols = &section;
    if (name == ".nv.info") info = &section;
    if (!name.starts_with(".text.")) continue;
    KernelResources kernel;
    kernel.symbol = name.substr(6);
    kernel.code_bytes = section.sh_size;
    kernel.instructions = section.sh_size / 16;
    kernel.code_sha256 = sha256_hex(elf.data(section));
    kernels.push_back(std::move(kernel));
  }
  if (symbols == nullptr || info == nullptr || symbols->sh_link >= elf.sections().size())
    fail("not a cubin: it has no kernel information");
  for (const auto& section : elf.sections()) {
    for (auto& kernel : kernels) {
      if (elf.name(section) == ".nv.shared." + kernel.symbol) kernel.shared_bytes = section.sh_size;
      if (elf.name(section) != ".nv.info." + kernel.symbol) continue;
      detail::for_attributes(elf.data(section), [&](std::uint8_t attribute, std::span<const std::byte> value) {
        if (attribute != detail::info_max_threads || value.size() < 12) return;
        kernel.max_threads = 1;
        for (std::uint64_t axis = 0; axis < 3; ++axis)
          kernel.max_threads *= detail::ElfView::read<std::uint32_t>(value, 4 * axis);
      });
    }
  }

  const auto& strings = elf.sections()[symbols->sh_link];
  const auto kernel_of = [&](std::uint32_t index) -> KernelResources* {
    const auto symbol = detail::ElfView::read<Elf64_Sym>(elf.data(*symbols), std::uint64_t{index} * sizeof(Elf64_Sym));
    for (auto& kernel : kernels)
      if (kernel.symbol == elf.text(strings, symbol.st_name)) return &kernel;
    return nullptr;
  };
  detail::for_attributes(elf.data(*info), [&](std::uint8_t attribute, std::span<const std::byte> value) {
    if (value.size() < 8 || (attribute != detail::info_frame_size && attribute != detail::info_register_count)) return;
    auto* kernel = kernel_of(detail::ElfView::read<std::uint32_t>(value, 0));
    if (kernel != nullptr)
      (attribute == detail::info_frame_size ? kernel->stack_bytes : kernel->registers) =
          detail::ElfView::read<std::uint32_t>(value, 4);
  });
  return kernels;
}

}  // namespace fpf::kernel
