// What a call complains about: tests of bad input look for the words in it.
#pragma once

#include <fpf/core/error.hpp>
#include <string>

/// The message of the fpf::Error that `call` throws; "no error" when it throws none.
template <class Call>
std::string error_text(Call&& call) {
  try {
    call();
  } catch (const fpf::Error& error) {
    return error.what();
  }
  return "no error";
}

/// True when every word stands in the text.
inline bool mentions(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words)
    if (text.find(word) == std::string::npos) return false;
  return true;
}
