// PDFs and gzip files made byte by byte.
#pragma once

#include <fmt/format.h>
#include <zlib.h>

#include <string>
#include <vector>

inline std::string gzip(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(content.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A PDF (ISO 32000-1, 7.5) with one page for each content stream. <01> in font F2 means U+1D11E.
inline std::string pdf(const std::vector<std::string>& pages) {
  std::string out = "%PDF-1.5\n", kids;
  std::vector<std::size_t> places;
  const auto object = [&](const std::string& body) {
    places.push_back(out.size());
    out += fmt::format("{} 0 obj\n{}\nendobj\n", places.size(), body);
    return places.size();
  };
  const auto stream = [&](const std::string& body) {
    return object(fmt::format("<< /Length {} >>\nstream\n{}\nendstream", body.size(), body));
  };
  const auto map = stream(
      "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
      "1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <01> <D834DD1E> endbfchar\n"
      "endcmap end end");
  const auto plain = object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>");
  const auto mapped =
      object(fmt::format("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /FirstChar 1 /LastChar 1 "
                         "/Widths [500] /ToUnicode {} 0 R >>",
                         map));
  const std::size_t tree = places.size() + 2 * pages.size() + 1;
  for (const auto& page : pages) {
    const auto content = stream(page);
    kids += fmt::format(
        "{} 0 R ",
        object(fmt::format("<< /Type /Page /Parent {} 0 R /MediaBox [0 0 595 842] /Contents {} 0 R /Resources "
                           "<< /Font << /F1 {} 0 R /F2 {} 0 R >> >> >>",
                           tree, content, plain, mapped)));
  }
  object(fmt::format("<< /Type /Pages /Kids [ {}] /Count {} >>", kids, pages.size()));
  const auto root = object(fmt::format("<< /Type /Catalog /Pages {} 0 R >>", tree));
  const std::size_t table = out.size();
  out += fmt::format("xref\n0 {}\n0000000000 65535 f \n", places.size() + 1);
  for (const std::size_t place : places) out += fmt::format("{:010} 00000 n \n", place);
  return out +
         fmt::format("trailer\n<< /Size {} /Root {} 0 R >>\nstartxref\n{}\n%%EOF\n", places.size() + 1, root, table);
}

inline std::string line(const std::string& text, int y = 720) {
  return fmt::format("BT /F1 12 Tf 72 {} Td ({}) Tj ET\n", y, text);
}
