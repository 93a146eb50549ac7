// Reads files of PTX, and decodes kernels when they are first asked for.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include "ptx_instructions.h"

namespace simt::ptx {
namespace {

// What is wrong with a file, with its name and line.
struct Unreadable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Without what surrounds it.
std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  return first == std::string_view::npos ? "" : std::string(text.substr(first, last - first + 1));
}

// The parts between separators that no bracket encloses.
std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); i++) {
    if (i < text.size() && (text[i] == '[' || text[i] == '{')) depth++;
    if (i < text.size() && (text[i] == ']' || text[i] == '}')) depth--;
    if (i < text.size() && (text[i] != separator || depth > 0)) continue;
    if (std::string part = trimmed(text.substr(begin, i - begin)); !part.empty()) parts.push_back(std::move(part));
    begin = i + 1;
  }
  return parts;
}

std::vector<std::string> words_of(const std::string &text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

// Bytes of ".u32" and so on; 0 of predicates, -1 where it is no type.
int width_of(std::string_view type) {
  if (type == ".pred") return 0;
  for (const auto &[width, suffix] : {std::pair{1, "8"}, {2, "16"}, {4, "32"}, {8, "64"}}) {
    for (const char *kind : {".b", ".u", ".s", ".f"}) {
      if (type == std::string(kind) + suffix) return width;
    }
  }
  return -1;
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// A statement of a kernel: an instruction or a declaration without its semicolon, a label with its colon, "{" or "}".
struct Statement {
  std::string text;
  int line;
  Site site;
};

struct Source {
  std::string name, header;
  std::vector<Statement> body;
};

struct Declared {  // a variable or a parameter
  std::string name;
  size_t bytes, alignment;
};

// ".shared .align 4 .b8 name[128]"
Declared declared(const std::string &text) {
  Declared result = {"", 0, 0};
  const std::vector<std::string> words = words_of(text);
  size_t element = 0;
  for (size_t i = 0; i < words.size(); i++) {
    if (words[i] == ".align" && i + 1 < words.size()) result.alignment = std::stoul(words[i + 1]);
    if (const int width = width_of(words[i]); width > 0) element = static_cast<size_t>(width);
  }
  result.name = words.empty() ? "" : words.back();
  const size_t bracket = result.name.find('[');
  if (bracket == std::string::npos) {
    result.bytes = element;
  } else {
    const std::string count = result.name.substr(bracket + 1, result.name.find(']') - bracket - 1);
    result.bytes = count.empty() ? 0 : element * std::stoul(count);
    result.name.resize(bracket);
  }
  if (result.alignment == 0) result.alignment = element;
  return result;
}

// A file cut into its kernels.
class Module {
 public:
  explicit Module(const std::string &path) : path_(path) {
    std::ifstream in(path);
    if (!in) throw Unreadable(path + ": cannot be read");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line.substr(0, line.find("//")));
    for (const std::string &line : lines) note_source_file(line);
    for (size_t i = 0; i < lines.size(); i++) read(lines[i], static_cast<int>(i) + 1);
  }

  const std::string &path() const { return path_; }
  const Source *find(const std::string &name) const {
    const auto found = kernels_.find(name);
    return found == kernels_.end() ? nullptr : &found->second;
  }
  // A variable of the file's own.
  const Declared *variable(const std::string &name) const {
    const auto found = variables_.find(name);
    return found == variables_.end() ? nullptr : &found->second;
  }

 private:
  void note_source_file(const std::string &line) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 3 || words[0] != ".file") return;
    const std::string path = words[2].substr(1, words[2].size() - 2);
    files_[words[1]] = std::filesystem::path(path).filename().string();
  }

  void read(const std::string &line, int number) {
    const std::string text = trimmed(line);
    const std::string first = text.substr(0, text.find_first_of(" \t"));
    if (first == ".section") in_section_ = true;  // of the debugger
    if (in_section_) {
      if (text == "}") in_section_ = false;
      return;
    }
    if (first == ".file" || first == ".version" || first == ".target" || first == ".address_size") return;
    if (first == ".loc") {
      const std::vector<std::string> words = words_of(text);
      const auto file = files_.find(words.at(1));
      if (file != files_.end()) site_ = {file->second.c_str(), std::stoi(words.at(2))};
      return;
    }
    for (const char c : text) take(c, number);
    statement_ += ' ';
  }

  void take(char c, int line) {
    const std::string so_far = trimmed(statement_);
    if (kernel_ == nullptr) {
      if (c == ';') {
        declare(so_far, line);
      } else if (c == '{') {
        open(so_far, line);
      } else {
        statement_ += c;
        return;
      }
    } else if ((c == '{' || c == '}') && so_far.empty()) {
      depth_ += c == '{' ? 1 : -1;
      if (depth_ == 0) {
        kernel_ = nullptr;
      } else {
        put(std::string(1, c), line);
      }
    } else if (c == ':' && so_far.find_first_of(" \t.[") == std::string::npos) {
      put(so_far + ':', line);
    } else if (c == ';') {
      put(so_far, line);
    } else {
      statement_ += c;
      return;
    }
    statement_.clear();
  }

  void put(const std::string &text, int line) {
    if (!text.empty()) kernel_->body.push_back({text, line, site_.file == nullptr ? Site{path_.c_str(), line} : site_});
  }

  void declare(const std::string &text, int line) {
    if (text.find(".shared") == std::string::npos) throw Unreadable(path_ + ":" + std::to_string(line) + ": '" + text + "' is not emulated");
    Declared variable = declared(text);
    variables_[variable.name] = variable;
  }

  void open(const std::string &header, int line) {
    const size_t entry = header.find(".entry");
    if (entry == std::string::npos) {
      throw Unreadable(path_ + ":" + std::to_string(line) + ": '" + header + "' is not emulated: functions that are called");
    }
    const std::string rest = header.substr(entry + 6);
    const std::string name = trimmed(rest.substr(0, rest.find('(')));
    kernel_ = &kernels_[name];
    kernel_->name = name;
    kernel_->header = rest;
    depth_ = 1;
  }

  const std::string path_;
  std::map<std::string, std::string> files_;
  std::unordered_map<std::string, Source> kernels_;
  std::unordered_map<std::string, Declared> variables_;
  std::string statement_;
  Source *kernel_ = nullptr;
  int depth_ = 0;
  bool in_section_ = false;
  Site site_ = {nullptr, 0};
};

// What stands for an operand before it is known how wide the instruction takes it.
struct Given {
  bool constant = false;
  int width = kAnyWidth;
  uint64_t value = 0;
  int variable = -1;
  Operand operand = 0;
};

class Decoder {
 public:
  Decoder(const Module &module, const Source &source) : module_(module), source_(source) {}

  Kernel decode() {
    kernel_.name = source_.name;
    read_header();
    scopes_.emplace_back();
    for (const Statement &statement : source_.body) {
      statement_ = &statement;
      read(statement.text);
    }
    for (const auto &[instruction, label] : branches_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) throw Unreadable(module_.path() + ": no label " + label);
      kernel_.code[instruction].target = found->second;
    }
    return std::move(kernel_);
  }

 private:
  struct Register {
    int width;
    Operand operand;
  };

  [[noreturn]] void refuse(const std::string &why) const {
    throw Unreadable(module_.path() + ":" + std::to_string(statement_->line) + ": '" + statement_->text + "' is not emulated: " + why);
  }

  void read_header() {
    const std::string &header = source_.header;
    const size_t open = header.find('('), close = header.find(')');
    if (open != std::string::npos) {
      for (const std::string &text : split(std::string_view(header).substr(open + 1, close - open - 1), ',')) {
        const Declared parameter = declared(text);
        kernel_.parameter_bytes = round_up(kernel_.parameter_bytes, parameter.alignment);
        parameters_[parameter.name] = kernel_.parameter_bytes;
        kernel_.parameters.push_back({kernel_.parameter_bytes, parameter.bytes});
        kernel_.parameter_bytes += parameter.bytes;
      }
    }
    if (const size_t limit = header.find(".maxntid"); limit != std::string::npos) {
      std::istringstream in(header.substr(limit + 8));
      unsigned x = 1, y = 1, z = 1;
      char comma = ',';
      in >> x >> comma >> y >> comma >> z;
      kernel_.most_threads = x * y * z;
    }
  }

  void read(const std::string &text) {
    if (text == "{") {
      scopes_.emplace_back();
    } else if (text == "}") {
      scopes_.pop_back();
    } else if (text.back() == ':') {
      labels_[text.substr(0, text.size() - 1)] = static_cast<uint32_t>(kernel_.code.size());
    } else if (text.starts_with(".reg")) {
      declare_registers(text);
    } else if (text.starts_with(".shared")) {
      add_variable(declared(text));
    } else if (text.starts_with(".pragma")) {
      // how to compile
    } else if (text.front() == '.') {
      refuse("a declaration of that kind");
    } else {
      read_instruction(text);
    }
  }

  // ".reg .b32 %r<317>": %r0 to %r316
  void declare_registers(const std::string &text) {
    const std::string rest = trimmed(text.substr(4));
    const size_t end = rest.find_first_of(" \t");
    const int width = width_of(rest.substr(0, end));
    if (width < 0 || width == 1) refuse("registers of that type");
    for (const std::string &name : split(std::string_view(rest).substr(end), ',')) {
      const size_t bracket = name.find('<');
      if (bracket == std::string::npos) {
        scopes_.back()[name] = new_register(width);
        continue;
      }
      const int count = std::stoi(name.substr(bracket + 1));
      for (int i = 0; i < count; i++) scopes_.back()[name.substr(0, bracket) + std::to_string(i)] = {width, kUnplaced};
    }
  }

  Register new_register(int width) {
    const size_t at = kernel_.register_bytes;
    kernel_.register_bytes += width == 0 ? sizeof(uint64_t) : static_cast<size_t>(width) * 32;
    return {width, static_cast<Operand>(at)};
  }

  int add_variable(const Declared &variable) {
    const int index = static_cast<int>(kernel_.variables.size());
    kernel_.variables.push_back({variable.name, variable.bytes, variable.alignment});
    variables_[variable.name] = index;
    return index;
  }

  const Register *find_register(const std::string &name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); scope++) {
      const auto found = scope->find(name);
      if (found == scope->end()) continue;
      if (found->second.operand == kUnplaced) found->second = new_register(found->second.width);
      return &found->second;
    }
    static constexpr std::pair<const char *, Special> kSpecial[] = {
        {"%tid.x", Special::kTidX},     {"%tid.y", Special::kTidY},     {"%tid.z", Special::kTidZ},     {"%ntid.x", Special::kNtidX},
        {"%ntid.y", Special::kNtidY},   {"%ntid.z", Special::kNtidZ},   {"%ctaid.x", Special::kCtaidX}, {"%ctaid.y", Special::kCtaidY},
        {"%ctaid.z", Special::kCtaidZ}, {"%nctaid.x", Special::kNctaidX}, {"%nctaid.y", Special::kNctaidY}, {"%nctaid.z", Special::kNctaidZ},
        {"%laneid", Special::kLane}};
    for (const auto &[special, meaning] : kSpecial) {
      if (name != special) continue;
      Register &place = scopes_.front()[name] = new_register(4);
      kernel_.specials.push_back({meaning, place.operand});
      return &place;
    }
    return nullptr;
  }

  // A shared variable of the kernel's, or of the file's that it uses.
  int find_variable(const std::string &name) {
    const auto found = variables_.find(name);
    if (found != variables_.end()) return found->second;
    const Declared *const declared = module_.variable(name);
    return declared == nullptr ? -1 : add_variable(*declared);
  }

  uint64_t number(const std::string &text) {
    const bool is_float = text.starts_with("0f") || text.starts_with("0F") || text.starts_with("0d") || text.starts_with("0D");
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X"), is_negative = text.front() == '-';
    const std::string digits = is_float || is_hex ? text.substr(2) : is_negative ? text.substr(1) : text;
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, is_float || is_hex ? 16 : 10);
    if (error != std::errc() || (end != digits.data() + digits.size() && *end != 'U')) refuse("'" + text + "' is no operand that is known");
    return is_negative ? ~value + 1 : value;
  }

  Given given(const std::string &text) {
    if (const Register *const known = find_register(text); known != nullptr) return {false, known->width, 0, -1, known->operand};
    if (const int variable = find_variable(text); variable >= 0) return {true, kAnyWidth, 0, variable, 0};
    return {true, kAnyWidth, number(text), -1, 0};
  }

  // "[%rd1+16]": the offset goes to the instruction, and the base is an operand unless it is a parameter.
  void take_address(const std::string &text, std::vector<Given> &operands, Instruction &instruction) {
    const std::string inside = text.substr(1, text.rfind(']') - 1);
    const size_t plus = inside.find('+');
    if (plus != std::string::npos) instruction.offset = static_cast<int64_t>(number(trimmed(inside.substr(plus + 1))));
    const std::string base = trimmed(inside.substr(0, plus));
    const auto parameter = parameters_.find(base);
    if (parameter == parameters_.end()) {
      operands.push_back(given(base));
    } else {
      instruction.offset += static_cast<int64_t>(parameter->second);
    }
  }

  void take_operand(const std::string &text, std::vector<Given> &operands, Instruction &instruction) {
    if (text.front() == '{') {
      for (const std::string &element : split(std::string_view(text).substr(1, text.rfind('}') - 1), ',')) operands.push_back(given(element));
    } else if (text.front() == '[') {
      take_address(text, operands, instruction);
    } else if (const size_t bar = text.find('|'); bar != std::string::npos) {
      operands.push_back(given(text.substr(0, bar)));
      operands.push_back(given(text.substr(bar + 1)));
    } else {
      operands.push_back(given(text));
    }
  }

  Operand constant(uint64_t value, int variable, int width) {
    if (width == 0) value = value == 0 ? 0 : 0xffffffffu;
    if (width > 0 && width < 8) value &= (uint64_t{1} << 8 * width) - 1;
    const auto [known, is_new] = constants_.try_emplace({value, variable, width}, 0);
    if (is_new) {
      known->second = static_cast<Operand>(kernel_.constant_bytes) | kConstant;
      kernel_.constants.push_back({value, variable, width, known->second});
      kernel_.constant_bytes += width == 0 ? sizeof(uint64_t) : static_cast<size_t>(width) * 32;
    }
    return known->second;
  }

  void read_instruction(const std::string &text) {
    Instruction instruction = {};
    std::string rest = text;
    if (rest.front() == '@') {
      const size_t end = rest.find_first_of(" \t");
      instruction.guarded = true;
      instruction.guard_inverted = rest[1] == '!';
      const Register *const guard = find_register(rest.substr(instruction.guard_inverted ? 2 : 1, end - (instruction.guard_inverted ? 2 : 1)));
      if (guard == nullptr || guard->width != 0) refuse("its predicate is unknown");
      instruction.guard = guard->operand;
      rest = trimmed(rest.substr(end));
    }
    const size_t end = rest.find_first_of(" \t");
    const std::string name = rest.substr(0, end), list = end == std::string::npos ? "" : rest.substr(end);
    std::vector<Given> operands;
    if (name.starts_with("bra")) {
      branches_.emplace_back(kernel_.code.size(), trimmed(list));
    } else {
      for (const std::string &operand : split(list, ',')) take_operand(operand, operands, instruction);
    }
    if (name.find(".aligned.") != std::string::npos) operands.push_back({true, kAnyWidth, ~uint64_t{0}, -1, 0});  // by the whole warp
    encode(name, operands, instruction);
  }

  void encode(const std::string &name, const std::vector<Given> &operands, Instruction &instruction) {
    std::vector<int> widths;
    for (const Given &operand : operands) widths.push_back(operand.width);
    const Opcode *const opcode = find_opcode(name, widths);
    if (opcode == nullptr) refuse(is_known(name) ? "that instruction, but with other operands" : "no instruction of that name");
    std::vector<Operand> &places = kernel_.operands.emplace_back();
    for (size_t i = 0; i < operands.size(); i++) {
      const Given &operand = operands[i];
      places.push_back(operand.constant ? constant(operand.value, operand.variable, opcode->widths[i]) : operand.operand);
    }
    instruction.execute = opcode->execute;
    instruction.kind = opcode->kind;
    instruction.operand = places.data();
    instruction.members = static_cast<int8_t>(places.size()) - 1;
    instruction.predicate = places.size() == 3 ? 2 : -1;
    instruction.text = kernel_.texts.emplace_back(statement_->text).c_str();
    instruction.site = statement_->site;
    kernel_.code.push_back(instruction);
  }

  static constexpr Operand kUnplaced = ~Operand{0};

  const Module &module_;
  const Source &source_;
  Kernel kernel_;
  const Statement *statement_ = nullptr;
  std::vector<std::unordered_map<std::string, Register>> scopes_;
  std::unordered_map<std::string, size_t> parameters_;
  std::unordered_map<std::string, int> variables_;
  std::unordered_map<std::string, uint32_t> labels_;
  std::vector<std::pair<size_t, std::string>> branches_;
  std::map<std::tuple<uint64_t, int, int>, Operand> constants_;
};

// Files that are read, and what became of their kernels.
class Library {
 public:
  explicit Library(const std::string &files) {
    std::istringstream in(files);
    for (std::string path; std::getline(in, path, ':');) {
      if (!std::filesystem::is_directory(path)) {
        modules_.push_back(std::make_unique<Module>(path));
        continue;
      }
      for (const auto &entry : std::filesystem::directory_iterator(path)) {
        if (entry.path().extension() == ".ptx") modules_.push_back(std::make_unique<Module>(entry.path().string()));
      }
    }
  }

  const Kernel *find(const std::string &symbol) {
    const auto known = kernels_.find(symbol);
    if (known != kernels_.end()) return &known->second;
    for (const std::unique_ptr<Module> &module : modules_) {
      const Source *const source = module->find(symbol);
      if (source != nullptr) return &kernels_.emplace(symbol, Decoder(*module, *source).decode()).first->second;
    }
    return nullptr;
  }

 private:
  std::vector<std::unique_ptr<Module>> modules_;
  std::unordered_map<std::string, Kernel> kernels_;
};

}  // namespace

const Kernel *find_kernel(const std::string &files, const std::string &symbol, std::string &why) {
  static std::mutex mutex;
  static auto *const libraries = new std::map<std::string, Library>();
  const std::lock_guard lock(mutex);
  try {
    auto library = libraries->find(files);
    if (library == libraries->end()) library = libraries->emplace(files, files).first;
    const Kernel *const kernel = library->second.find(symbol);
    if (kernel == nullptr) why = "no kernel of that name (" + symbol + ") in the PTX of " + files;
    return kernel;
  } catch (const Unreadable &unreadable) {
    why = unreadable.what();
    return nullptr;
  }
}

std::vector<char> parameters_of(const Kernel &kernel, const Call &call, std::string &why) {
  const std::vector<Argument> arguments = call.arguments();
  std::vector<char> parameters(kernel.parameter_bytes + 1);
  bool fit = arguments.size() == kernel.parameters.size();
  for (size_t i = 0; fit && i < arguments.size(); i++) {
    fit = arguments[i].bytes == kernel.parameters[i].bytes;
    if (fit) std::memcpy(parameters.data() + kernel.parameters[i].offset, arguments[i].address, arguments[i].bytes);
  }
  if (!fit) why = "the PTX has other parameters than the call: they are of different sources";
  return parameters;
}

}  // namespace simt::ptx
