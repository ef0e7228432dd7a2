// The report of compare, in a file of its own: it takes as long to compile as the rest.
#pragma once

#include <fpf/compare/options.hpp>
#include <fpf/compare/run.hpp>

/// Writes what was found to Settings::report. Throws Error when the folder cannot be written.
void write_report_of(const fpf::compare::Settings& settings, const fpf::compare::Result& result);
