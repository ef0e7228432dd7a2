// prompt/document.hpp: PDFs built here byte by byte, gzip files, the set-up's real documents, and files that
// must be refused.
#include <boost/test/unit_test.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/prompt/document.hpp>
#include <fstream>

#include "error_text.hpp"
#include "pdf_file.hpp"

BOOST_AUTO_TEST_SUITE(test_document)

using namespace fpf;
using namespace fpf::prompt;
namespace fs = std::filesystem;

namespace {

const fs::path fixtures = fs::path(FPF_FIXTURES) / "prompts";

std::string write(const char* name, const std::string& content) {
  std::ofstream(name, std::ios::binary) << content;
  return name;
}

std::string refusal(const std::string& path, DocumentKind kind = DocumentKind::any) {
  return error_text([&] { document_text(path, kind); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pdfs_text_comes_page_by_page_in_the_streams_order) {
  // The second column is written after the first, though its lines stand beside it.
  const auto file = write(
      "two.pdf",
      pdf({line("left one") + line("left two", 700) + "BT /F1 12 Tf 330 720 Td (right one) Tj ET", line("page two")}));
  BOOST_TEST(document_text(file) == "left one\nleft two\nright one\n\npage two\n\n");
  BOOST_TEST(document_text(file, DocumentKind::pdf) == document_text(file));
}

BOOST_AUTO_TEST_CASE(characters_beyond_the_basic_plane_survive) {
  const auto file = write("clef.pdf", pdf({"BT /F2 12 Tf 72 720 Td <010101> Tj ET"}));
  BOOST_TEST(document_text(file) == "\U0001d11e\U0001d11e\U0001d11e\n\n");
}

BOOST_AUTO_TEST_CASE(gzip_is_unpacked_first) {
  const std::string content = pdf({line("packed")});
  BOOST_TEST(document_text(write("packed.pdf.gz", gzip(content))) == "packed\n\n");
  BOOST_TEST(document_text(write("packed.txt.gz", gzip("plain\r\n text"))) == "plain\r\n text");
  BOOST_TEST(document_text(write("members.gz", gzip("one ") + gzip("two"))) == "one two");
  const std::string packed = gzip(std::string(5000, 'x') + "end");
  BOOST_TEST(mentions(refusal(write("short.gz", packed.substr(0, packed.size() / 2))), {"short.gz", "damaged"}));
  std::string wrong = packed;
  wrong[wrong.size() - 6] ^= 1;  // in the checksum
  BOOST_TEST(mentions(refusal(write("sum.gz", wrong)), {"sum.gz", "damaged"}));
}

BOOST_AUTO_TEST_CASE(plain_text_is_taken_as_it_is) {
  const std::string text = "\xef\xbb\xbf a\r\nb\xff\t\n";
  BOOST_TEST(document_text(write("plain.txt", text)) == text);
  BOOST_TEST(document_text("plain.txt", DocumentKind::text) == text);
}

BOOST_AUTO_TEST_CASE(a_pdf_that_opens_without_a_password_is_read) {
  BOOST_TEST(document_text(fixtures / "open.pdf") == "Nothing to hide\n\n");
}

BOOST_AUTO_TEST_CASE(what_is_no_readable_document_is_named) {
  BOOST_TEST(mentions(refusal("no/such.pdf"), {"no/such.pdf", "No such file"}));
  BOOST_TEST(mentions(refusal("."), {"a directory"}));
  BOOST_TEST(mentions(refusal(write("empty.pdf", "")), {"empty.pdf", "empty"}));
  BOOST_TEST(mentions(refusal(write("blank.txt", " \n\t\n")), {"blank.txt", "white space"}));
  BOOST_TEST(mentions(refusal(write("zero.txt", std::string("a\0b", 3))), {"zero.txt", "byte 1 is zero"}));
  BOOST_TEST(mentions(refusal((fixtures / "locked.pdf").string()), {"locked.pdf", "encrypted", "password"}));
  BOOST_TEST(mentions(refusal("plain.txt", DocumentKind::pdf), {"plain.txt", "no PDF"}));
  BOOST_TEST(
      mentions(refusal(write("a.pdf", pdf({line("a")})), DocumentKind::text), {"a.pdf", "is a PDF", "plain text"}));
}

BOOST_AUTO_TEST_CASE(damaged_pdfs_are_named) {
  const std::string whole = pdf({line("first"), line("second")});
  const auto damaged = [](const std::string& message) { return mentions(message, {"bad.pdf", "damaged PDF"}); };
  BOOST_TEST(damaged(refusal(write("bad.pdf", whole.substr(0, whole.size() / 2)))));
  BOOST_TEST(damaged(refusal(write("bad.pdf", "%PDF-1.5\nnothing that follows makes sense\n%%EOF\n"))));
  std::string no_pages = whole;
  no_pages.replace(no_pages.find("/Kids"), 5, "/Kinds");
  no_pages.replace(no_pages.find("/Count 2"), 8, "/Count 0");
  BOOST_TEST(damaged(refusal(write("bad.pdf", no_pages))));
  const std::string drawing = pdf({"72 72 100 100 re f", "0 0 10 10 re f"});
  BOOST_TEST(mentions(refusal(write("scan.pdf", drawing)), {"scan.pdf", "no text on its 2 pages"}));
}

BOOST_AUTO_TEST_CASE(what_stands_behind_the_end_of_a_pdf_is_left_out) {
  const std::string whole = pdf({line("first"), line("second")}), text = "first\n\nsecond\n\n";
  for (const std::string& tail :
       {std::string(5000, '\0'), std::string(3000, ' '), std::string("\r\n\r\n"),
        std::string("<html>trailer of a movie</html>\n"),
        std::string("objection: 12 objects, 0 obj\n") + std::string(4000, 'x'), std::string("\x80\x00\xff", 3),
        std::string("--boundary--"), std::string("\r\n0\r\n\r\n"), std::string("12345\n"), std::string(100, '0')})
    BOOST_TEST(document_text(write("tail.pdf", whole + tail)) == text, tail.substr(0, 40));
  std::vector<std::string> problems;
  document_text(write("tail.pdf", whole + std::string(2048, '\0')), DocumentKind::pdf, &problems);
  BOOST_TEST(problems.empty());
  BOOST_TEST(document_text(write("tail.pdf.gz", gzip(whole + std::string(2048, '\0')))) == text);
}

// An update appends objects, a table and an %%EOF of its own (ISO 32000-1, 7.5.6).
BOOST_AUTO_TEST_CASE(a_pdf_whose_last_update_breaks_off_is_refused) {
  const std::string whole = pdf({line("first")});
  const auto start = whole.rfind("startxref\n") + 10;
  const std::string before = whole.substr(start, whole.find('\n', start) - start), content = line("second, longer");
  std::string update =
      fmt::format("4 0 obj\n<< /Length {} >>\nstream\n{}\nendstream\nendobj\n", content.size(), content);
  const std::size_t table = whole.size() + update.size();
  update +=
      fmt::format("xref\n4 1\n{:010} 00000 n \ntrailer\n<< /Size 8 /Root 7 0 R /Prev {} >>\nstartxref\n{}\n%%EOF\n",
                  whole.size(), before, table);
  BOOST_TEST(document_text(write("updated.pdf", whole + update)) == "second, longer\n\n");
  for (std::size_t length = 1; length < update.find("%%EOF") + 5; ++length)
    BOOST_TEST(mentions(refusal(write("bad.pdf", whole + update.substr(0, length))), {"bad.pdf", "damaged PDF"}),
               length);
}

// A linearised file begins with its first page, "startxref 0" and an %%EOF; its length stands in its first object (annex F).
BOOST_AUTO_TEST_CASE(a_linearised_pdf_that_breaks_off_is_refused) {
  std::string whole = pdf({line("first")});
  const std::size_t length = whole.size() + 1000;
  const std::string head =
      fmt::format("%PDF-1.5\n9 0 obj\n<< /Linearized 1 /L {} /N 1 >>\nendobj\nstartxref\n0\n%%EOF\n", length);
  const std::string padded = head + whole.substr(9);
  for (const std::size_t cut : {head.size() - 1, head.size(), head.size() + 3, head.size() + 200, padded.size() - 20})
    BOOST_TEST(mentions(refusal(write("bad.pdf", padded.substr(0, cut))), {"bad.pdf", "damaged PDF"}), cut);
  const std::string first =
      fmt::format("%PDF-1.5\n9 0 obj\n<< /Linearized 1 /L 9 /N 1 >>\nendobj\nstartxref\n0\n%%EOF\n");
  BOOST_TEST(mentions(refusal(write("bad.pdf", first)), {"linearised"}));
}

BOOST_AUTO_TEST_CASE(git_lfs_pointers_are_named_as_such) {
  const auto file = write("pointer.pdf", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n");
  BOOST_TEST(mentions(refusal(file), {"pointer.pdf", "Git LFS pointer", "12345 bytes", "git lfs pull"}));
}

BOOST_AUTO_TEST_CASE(complaints_about_a_readable_pdf_are_handed_on) {
  std::vector<std::string> problems;
  document_text(write("good.pdf", pdf({line("good")})), DocumentKind::pdf, &problems);
  BOOST_TEST(problems.empty());
  std::string odd = pdf({line("before") + "(unbalanced Tj\n", line("after")});
  BOOST_TEST(mentions(document_text(write("odd.pdf", odd), DocumentKind::pdf, &problems), {"before", "after"}));
  BOOST_TEST(!problems.empty());
}

BOOST_AUTO_TEST_CASE(real_documents_have_their_words) {
  const auto text_of = [](const char* name) {
    std::vector<std::string> problems;
    std::string text = document_text(fs::path(FPF_BUILD) / "documents" / name, DocumentKind::pdf, &problems);
    BOOST_TEST(problems.empty());
    BOOST_TEST(text.size() > 100'000);
    return text;
  };
  BOOST_TEST(mentions(text_of("bashref.pdf"), {"Bash Reference Manual", "GNU Free Documentation License"}));
  BOOST_TEST(mentions(text_of("policy.pdf.gz"), {"Debian Policy Manual", "maintainer scripts"}));
  BOOST_TEST(mentions(text_of("developers-reference.pdf"), {"Developer", "backports"}));
  BOOST_TEST(mentions(text_of("valgrind_manual.pdf.gz"), {"Memcheck", "Cachegrind"}));
}

BOOST_AUTO_TEST_SUITE_END()
