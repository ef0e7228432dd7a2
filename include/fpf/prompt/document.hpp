// The text of a document: PDF through poppler, or plain text; either may be gzipped.
#pragma once

#include <poppler-document.h>
#include <poppler-page.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/mapped_file.hpp>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// What a document is expected to be; `any` goes by its content.
enum class DocumentKind { any, pdf, text };

namespace detail {

/// A gzip file's content. Throws Error when it is damaged or truncated, or larger than 1 GiB.
inline std::string gunzip(const std::filesystem::path& path) {
  constexpr std::size_t limit = std::size_t{1} << 30;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (!file) fail("cannot open {}", path.string());
  std::string out;
  std::array<char, 1 << 16> chunk{};
  int count = 0;
  while ((count = gzread(file.get(), chunk.data(), chunk.size())) > 0) {
    out.append(chunk.data(), static_cast<std::size_t>(count));
    if (out.size() > limit) fail("{} is larger than {} bytes unpacked", path.string(), limit);
  }
  int error = Z_OK;
  const char* message = gzerror(file.get(), &error);  // Z_BUF_ERROR: the end is missing
  if (count < 0 || error != Z_OK) fail("{} is damaged: {}", path.string(), message);
  return out;
}

inline std::string file_content(const std::filesystem::path& path) {
  const MappedFile file(path);
  return file.text().starts_with("\x1f\x8b") ? gunzip(path) : std::string(file.text());
}

inline bool is_pdf(std::string_view content) {  // the header may stand anywhere in the first kilobyte
  return content.substr(0, 1024).find("%PDF-") != std::string_view::npos;
}

inline bool is_blank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' '; });
}

/// Collects what poppler has to say instead of letting it write to stderr. Poppler has one such hook per
/// process, so only one document is read at a time.
class PopplerMessages {
 public:
  PopplerMessages() : lock_(mutex()) {
    poppler::set_debug_error_function(
        [](const std::string& message, void* self) {
          static_cast<PopplerMessages*>(self)->messages_.push_back(
              message.substr(0, message.find_last_not_of('\n') + 1));
        },
        this);
  }
  PopplerMessages(const PopplerMessages&) = delete;
  PopplerMessages& operator=(const PopplerMessages&) = delete;
  ~PopplerMessages() {
    poppler::set_debug_error_function([](const std::string&, void*) {}, nullptr);
  }
  const std::vector<std::string>& all() const { return messages_; }
  std::string first() const { return messages_.empty() ? "poppler gives no reason" : messages_.front(); }

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  std::lock_guard<std::mutex> lock_;
  std::vector<std::string> messages_;
};

inline std::string pdf_text(std::string_view content, const std::string& name, std::vector<std::string>* problems) {
  // Poppler makes what it can of a file that breaks off; a prompt of half a document should not pass unseen.
  if (content.substr(content.size() - std::min<std::size_t>(content.size(), 1024)).find("%%EOF") == std::string::npos)
    fail("{} is a damaged PDF: expected %%EOF within its last 1024 bytes", name);
  if (content.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    fail("{} has {} bytes: expected a PDF below 2 GiB", name, content.size());
  const PopplerMessages messages;
  const std::unique_ptr<poppler::document> document(
      poppler::document::load_from_raw_data(content.data(), static_cast<int>(content.size())));
  if (!document) fail("{} is a damaged PDF: {}", name, messages.first());
  if (document->is_locked()) fail("{} is an encrypted PDF: expected one that opens without a password", name);
  const int pages = document->pages();
  if (pages < 1) fail("{} is a damaged PDF: it has no pages", name);
  std::string out;
  for (int i = 0; i < pages; ++i) {
    check_interrupt();
    const std::unique_ptr<poppler::page> page(document->create_page(i));
    if (!page) fail("{} is a damaged PDF: page {} of {} cannot be read: {}", name, i + 1, pages, messages.first());
    // The order of the content stream: columns stay apart, and no layout heuristic of a poppler version
    // decides.
    const auto text = page->text(poppler::rectf(), poppler::page::raw_order_layout).to_utf8();
    out.append(text.begin(), text.end());
  }
  std::replace(out.begin(), out.end(), '\f', '\n');  // ends each page: a blank line parts them
  if (is_blank(out))
    fail("{} has no text on its {} pages{}: expected a PDF with text, not scanned images", name, pages,
         messages.all().empty() ? "" : " (" + messages.first() + ")");
  if (problems != nullptr) *problems = messages.all();
  return out;
}

}  // namespace detail

/// The text of a PDF or a plain text file, either of them also gzipped; bytes that are no UTF-8 are left as
/// they are. Poppler's complaints about a PDF that it could read nevertheless go to `problems`. The same file
/// gives the same text for one version of poppler. Throws Error when the file is missing, empty, of another
/// kind, damaged, truncated, encrypted or without text.
inline std::string document_text(const std::filesystem::path& path, DocumentKind kind = DocumentKind::any,
                                 std::vector<std::string>* problems = nullptr) {
  const std::string name = path.string(), content = detail::file_content(path);
  if (content.empty()) fail("{} is empty: expected a document", name);
  const bool pdf = detail::is_pdf(content);
  if (kind == DocumentKind::pdf && !pdf) fail("{} is no PDF: expected %PDF- within its first 1024 bytes", name);
  if (kind == DocumentKind::text && pdf) fail("{} is a PDF: expected plain text", name);
  if (pdf) return detail::pdf_text(content, name, problems);
  if (const auto zero = content.find('\0'); zero != std::string::npos)
    fail("{} is no text: byte {} is zero, expected a PDF or plain text in UTF-8", name, zero);
  if (detail::is_blank(content)) fail("{} has no text but white space", name);
  return content;
}

/// One sentence for people on the problems that document_text() went on from.
inline std::string describe_damage(const std::filesystem::path& path, const std::vector<std::string>& problems) {
  return fmt::format("{} is damaged in {} places ({}); what could be read is used", path.string(), problems.size(),
                     problems.front());
}

}  // namespace fpf::prompt
