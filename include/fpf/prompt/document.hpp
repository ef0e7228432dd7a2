// The text of a document: PDF through poppler, in a child process under limits, or plain text; either may be gzipped.
#pragma once

#include <poppler-document.h>
#include <poppler-page.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/piped_child.hpp>
#include <fpf/core/text.hpp>
#include <limits>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::prompt {

/// What a document is expected to be; `any` goes by its content.
enum class DocumentKind { any, pdf, text };

namespace detail {

/// Bytes of a text and of what a gzip file unpacks to, at most: some thirty million tokens.
inline constexpr std::size_t longest_text = std::size_t{128} << 20;

/// A gzip file's content. Throws Error when it is damaged or truncated, or larger than longest_text.
inline std::string gunzip(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (!file) fail("cannot open {}", path.string());
  std::string out;
  std::array<char, 1 << 16> chunk{};
  int count = 0;
  while ((count = gzread(file.get(), chunk.data(), chunk.size())) > 0) {
    out.append(chunk.data(), static_cast<std::size_t>(count));
    if (out.size() > longest_text)
      fail("{} is larger than {} bytes unpacked: expected a document of less", path.string(), longest_text);
  }
  int error = Z_OK;
  const char* message = gzerror(file.get(), &error);  // Z_BUF_ERROR: the end is missing
  if (count < 0 || error != Z_OK) fail("{} is damaged: {}", path.string(), message);
  return out;
}

/// A file's content, unpacked where it is gzipped.
class FileContent {
 public:
  explicit FileContent(const std::filesystem::path& path) : file_(path) {
    packed_ = file_.text().starts_with("\x1f\x8b");
    if (packed_) unpacked_ = gunzip(path);
  }
  std::string_view text() const { return packed_ ? std::string_view(unpacked_) : file_.text(); }

 private:
  MappedFile file_;
  bool packed_ = false;
  std::string unpacked_;
};

inline bool is_pdf(std::string_view content) {  // the header may stand anywhere in the first kilobyte
  return content.substr(0, 1024).find("%PDF-") != std::string_view::npos;
}

inline bool is_blank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' '; });
}

/// Of poppler's complaints about a PDF, those that are kept.
inline constexpr std::size_t most_problems = 1000;

/// Collects what poppler has to say instead of letting it write to stderr. Poppler has one such hook per
/// process, so only one document is read at a time.
class PopplerMessages {
 public:
  PopplerMessages() : lock_(mutex()) {
    poppler::set_debug_error_function(
        [](const std::string& message, void* self) {
          auto& all = static_cast<PopplerMessages*>(self)->messages_;
          if (all.size() < most_problems)
            all.push_back(one_line(message.substr(0, message.find_last_not_of('\n') + 1), 300));
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

/// The words of `text` up to `count`, parted by PDF's white space (ISO 32000-1, table 1).
inline std::vector<std::string_view> first_words(std::string_view text, std::size_t count) {
  constexpr std::string_view space("\0\t\n\f\r ", 6);
  std::vector<std::string_view> out;
  while (out.size() < count) {
    text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
    if (text.empty()) break;
    out.push_back(text.substr(0, text.find_first_of(space)));
    text.remove_prefix(out.back().size());
  }
  return out;
}

inline bool is_number(std::string_view word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos;
}

/// Whether a PDF goes on in what stands behind an %%EOF: an update (or the body of a linearised file) of which the end
/// is missing, if only so little of it is there as "12 0 o". Padding and text of another kind are not that.
inline bool goes_on(std::string_view tail) {
  const auto words = first_words(tail, 3);
  if (words.empty()) return false;
  const std::string_view last = words.back(), xref = "xref", obj = "obj";
  if (words.front().starts_with(xref) || (words.size() == 1 && xref.starts_with(last))) return true;
  const bool cut_here = tail.ends_with(last);  // in the middle of a word
  if (words.size() == 1 && is_number(last)) {  // "12 ", but neither padding nor a line that servers end chunks with
    const auto behind = static_cast<std::size_t>(last.data() + last.size() - tail.data());
    return last.size() <= 7 && tail.find_first_of("\r\n", behind) == std::string_view::npos;
  }
  if (is_number(words.front()) && is_number(words[1]) &&
      (words.size() < 3 || last.starts_with(obj) || (obj.starts_with(last) && cut_here)))
    return true;
  for (std::size_t at = tail.find(" obj"); at != std::string_view::npos; at = tail.find(" obj", at + 1)) {
    const std::string_view line = tail.substr(at < 24 ? 0 : at - 24, std::min<std::size_t>(at, 24));  // "12 0"
    const auto generation = line.find_last_not_of("0123456789");
    if (generation == std::string_view::npos || generation + 1 == line.size() || line[generation] != ' ') continue;
    if (generation > 0 && line[generation - 1] >= '0' && line[generation - 1] <= '9') return true;
  }
  return false;
}

/// A PDF up to its last %%EOF, without what some writers and servers put behind it. Poppler makes what it can of a file
/// that breaks off, and a prompt of half a document should not pass unseen: throws Error where the end is missing.
inline std::string_view whole_pdf(std::string_view content, const std::string& name) {
  constexpr std::string_view mark = "%%EOF";
  const std::size_t found = content.rfind(mark);
  if (found == std::string_view::npos) fail("{} is a damaged PDF: expected %%EOF at its end", name);
  const std::string_view whole = content.substr(0, found + mark.size()), tail = content.substr(whole.size());
  if (goes_on(tail))
    fail("{} is a damaged PDF: it goes on behind its last %%EOF (byte {} of {}), but its end is missing", name, found,
         content.size());
  // A linearised file (ISO 32000-1, annex F) has an %%EOF near its start, with "startxref 0" before it, and says how
  // long it is.
  const auto head = content.substr(0, 2048);
  std::size_t length = 0;
  if (const auto at = head.find("/Linearized"); at != std::string_view::npos)
    if (const auto key = head.find("/L ", at); key != std::string_view::npos) {
      const auto words = first_words(head.substr(key + 3), 1);
      const std::string digits(words.empty() ? "" : words[0].substr(0, words[0].find_first_not_of("0123456789")));
      length = parse_number<std::size_t>(digits).value_or(0);
    }
  const auto start = whole.rfind("startxref");
  const auto words = first_words(start == std::string_view::npos ? "" : whole.substr(start), 2);
  const bool first_part = words.size() == 2 && words[1] == "0";
  if (length > content.size() || (length != 0 && first_part))
    fail("{} is a damaged PDF: it is linearised and has {} bytes, expected {}", name, content.size(), length);
  return whole;
}

/// What the text of a PDF may take: some ten times what manuals of a thousand pages take.
inline constexpr ChildLimits pdf_limits{
    .wall_seconds = 18, .cpu_seconds = 12, .memory_bytes = rlim_t{1} << 30, .output_bytes = longest_text / 2};

/// What document_text() says of PDFs. In this process, whatever poppler makes of the file.
inline std::string pdf_text(std::string_view file, const std::string& name, std::vector<std::string>* problems) {
  const std::string_view content = whole_pdf(file, name);
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
    const std::unique_ptr<poppler::page> page(document->create_page(i));
    if (!page) fail("{} is a damaged PDF: page {} of {} cannot be read: {}", name, i + 1, pages, messages.first());
    // The order of the content stream: columns stay apart, and no layout heuristic of a poppler version
    // decides.
    const auto text = page->text(poppler::rectf(), poppler::page::raw_order_layout).to_utf8();
    out.append(text.begin(), text.end());
    if (out.size() > longest_text / 2) fail("{} has more than {} bytes of text", name, longest_text / 2);
  }
  std::replace(out.begin(), out.end(), '\f', '\n');  // ends each page: a blank line parts them
  if (is_blank(out))
    fail("{} has no text on its {} pages{}: expected a PDF with text, not scanned images", name, pages,
         messages.all().empty() ? "" : " (" + messages.first() + ")");
  if (problems != nullptr) *problems = messages.all();
  return out;
}

/// The same in a child process: a page of a few bytes can take poppler hours and all memory, or its stack.
inline std::string pdf_text_in_child(std::string_view file, const std::string& name, std::vector<std::string>* problems,
                                     const ChildLimits& limits = pdf_limits) {
  using End = ChildOutput::End;
  constexpr int refused = 2;
  const ChildOutput ran = run_forked("the reader of " + name, limits, [&](std::string& out, std::string& err) {
    std::vector<std::string> found;
    try {
      out = pdf_text(file, name, &found);
    } catch (const Error& error) {
      err = error.what();
      return refused;
    }
    for (const std::string& one : found) err += one + "\n";
    return 0;
  });
  const bool memory = (ran.end == End::exited && ran.code == 126) || ran.err.find("ut of memory") != std::string::npos;
  if (ran.end == End::out_of_time)
    fail("{} was not read: its text takes poppler more than {} s of the CPU's time, or {:g} s", name,
         limits.cpu_seconds, limits.wall_seconds);
  if (ran.end == End::too_long) fail("{} has more than {} bytes of text", name, limits.output_bytes);
  if (ran.end == End::exited && ran.code == refused) fail("{}", ran.err);
  if (memory)
    fail("{} was not read: its text takes poppler more than {} MB of memory", name, limits.memory_bytes >> 20);
  if (ran.end != End::exited || ran.code != 0)
    fail("{} is a damaged PDF: poppler ended with {} {} in it{}{}", name,
         ran.end == End::exited ? "exit code" : "signal", ran.code, ran.err.empty() ? "" : ": ",
         one_line(ran.err, 200));
  if (problems != nullptr) {
    problems->clear();
    std::istringstream lines(ran.err);
    for (std::string line; std::getline(lines, line);) problems->push_back(line);
  }
  return ran.out;
}

}  // namespace detail

/// The text of a PDF or a plain text file, either of them also gzipped; bytes that are no UTF-8 are left as
/// they are. Poppler's complaints about a PDF that it could read nevertheless go to `problems`. The same file
/// gives the same text for one version of poppler. Throws Error when the file is missing, empty, of another
/// kind, damaged, truncated, encrypted, without text, or takes more time or memory than a document does.
inline std::string document_text(const std::filesystem::path& path, DocumentKind kind = DocumentKind::any,
                                 std::vector<std::string>* problems = nullptr) {
  const std::string name = path.string();
  const detail::FileContent file(path);
  const std::string_view content = file.text();
  if (content.empty()) fail("{} is empty: expected a document", name);
  refuse_git_lfs_pointer(content, name);
  const bool pdf = detail::is_pdf(content);
  if (kind == DocumentKind::pdf && !pdf) fail("{} is no PDF: expected %PDF- within its first 1024 bytes", name);
  if (kind == DocumentKind::text && pdf) fail("{} is a PDF: expected plain text", name);
  if (pdf) return detail::pdf_text_in_child(content, name, problems);
  if (content.size() > detail::longest_text)
    fail("{} has {} bytes: expected a text of at most {}", name, content.size(), detail::longest_text);
  if (const auto zero = content.find('\0'); zero != std::string::npos)
    fail("{} is no text: byte {} is zero, expected a PDF or plain text in UTF-8", name, zero);
  if (detail::is_blank(content)) fail("{} has no text but white space", name);
  return std::string(content);
}

/// One sentence for people on the problems that document_text() went on from.
inline std::string describe_damage(const std::filesystem::path& path, const std::vector<std::string>& problems) {
  return fmt::format("{} is damaged in {} places{} ({}); what could be read is used", path.string(), problems.size(),
                     problems.size() < detail::most_problems ? "" : " or more", problems.front());
}

}  // namespace fpf::prompt
