// The report of compare.
#include "compare_report.hpp"

#include <fpf/compare/report/report.hpp>

void write_report_of(const fpf::compare::Settings& settings, const fpf::compare::Result& result) {
  if (result.findings)
    fpf::compare::write_report(*settings.report, *result.findings, result.failures);
  else
    fpf::compare::write_report(*settings.report, result.analyses, result.failures);
}
