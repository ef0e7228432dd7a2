// The Python side of prompt/jinja.hpp.
#pragma once

#include <string_view>

namespace fpf::prompt {

/// Renders a chat template as transformers 5 does (utils/chat_template_utils.py): the same environment, extensions,
/// filters and globals. Reads one JSON object {template, variables, renderings: [{message, enable_thinking}], date,
/// unsure} from standard input and writes one, {jinja2, texts} or {jinja2, fault, what}. What would make a prompt that
/// cannot be made again is a fault: strftime_now without a date, and everything drawn at random.
inline constexpr std::string_view jinja_script = R"py(
import datetime, json, sys

def answer(**what):
    sys.stdout.write(json.dumps(what))
    sys.stdout.flush()
    sys.exit(0)

try:
    import jinja2, jinja2.debug, jinja2.ext, jinja2.filters, jinja2.meta, jinja2.nodes, jinja2.sandbox, jinja2.utils
    import pprint, random, resource, urllib.parse
except ImportError as error:
    answer(fault="missing", what=str(error))
VERSION = getattr(jinja2, "__version__", "0")
if [int("0" + "".join(filter(str.isdigit, part))) for part in VERSION.split(".")[:2]] < [3, 1]:
    answer(fault="missing", what="its jinja2 is " + VERSION)


class Raised(jinja2.exceptions.TemplateError):
    pass

class Unrepeatable(Exception):
    pass

class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _body(self, context, caller):
        return caller()

class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)

class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError("a namespace cannot hold " + repr(name))

def raise_exception(message):
    raise Raised(message)

def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

def at_random(*args, **kwargs):
    raise Unrepeatable("random")


def main():
    request = json.load(sys.stdin.buffer)
    date = request["date"] and datetime.datetime.strptime(request["date"], "%Y-%m-%d")

    def strftime_now(format):
        if not date:
            raise Unrepeatable("date")
        return date.strftime(format)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters.update(tojson=tojson, random=at_random)
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=Dict(),
                               namespace=Namespace, lipsum=at_random)
    template = environment.from_string(request["template"])
    unsure = sorted(jinja2.meta.find_undeclared_variables(environment.parse(request["template"])) & set(request["unsure"]))
    if unsure:
        answer(jinja2=VERSION, fault="unsure", what=", ".join(unsure))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # from here on it opens nothing
    texts = []
    for one in request["renderings"]:
        texts.append(template.render(
            messages=[{"role": "user", "content": one["message"]}], tools=None, documents=None,
            add_generation_prompt=True, **(request["variables"] | {"enable_thinking": one["enable_thinking"]})))
        texts[-1].encode()
    answer(jinja2=VERSION, texts=texts)

try:
    main()
except Raised as error:
    fault, what = "raised", str(error)
except Unrepeatable as error:
    fault, what = str(error), ""
except jinja2.exceptions.TemplateSyntaxError as error:
    fault, what = "error", "line %s: %s" % (error.lineno, error.message)
except (MemoryError, RecursionError) as error:
    fault, what = "limit", "memory" if isinstance(error, MemoryError) else "depth of calls"
except Exception as error:
    fault, what = "error", type(error).__name__ + ": " + str(error)
answer(jinja2=VERSION, fault=fault, what=what)
)py";

}  // namespace fpf::prompt
