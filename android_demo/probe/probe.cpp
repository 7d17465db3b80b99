// The probe: scores and continues token sequences with llama.cpp, one JSON object a line in, one a line out.
//
//   > {"processor": true}
//   < {"processor": {"variants": ["v8.0", "dotprod"]}}              which builds of this program run here
//   > {"open": {"model": "/data/local/tmp/model.gguf", "threads": 4, "journal": "/data/local/tmp/answers"}}
//   < {"info": {"engine": …, "variant": …, "features": …, "devices": ["CPU"], "threads": …, "sha256": …, "vocabulary": …,
//               "context": …, "resumed": …}}
//   > {"id": 0, "score": {"context": [1, 2], "continuation": [3]}}
//   < {"id": 0, "logprobs": […], "greedy": […], "ranks": […], "mean": […], "std": […]}
//   > {"id": 1, "generate": {"context": [1, 2], "max_tokens": 24, "stop": ["\n"], "temperature": 1.0, "uniforms": […],
//                            "special": false}}
//   > {"flush": true}
//   < {"id": 1, "tokens": […], "finish": "eos" | "stop" | "length"}
//   > {"tokenize": {"text": "…"}}                                    markers like <|im_start|> parsed; no BOS is added
//   < {"tokens": […]}
//   > {"spell": {"tokens": […], "special": true}}                    special tokens too, but none that ends a generation
//   < {"bytes": "hex"}
//   > {"usage": true}
//   < {"usage": {"peak_rss": …, "tokens": …, "seconds": …}}         bytes; tokens computed so far, and the time they took
//   > {"finish": true}
//   < {"finished": true}                                            the run is complete: its journal is removed
//   < {"error": "what", "id": 1}                                     and exit status 3
//
// Generations wait for each other until there are STREAMS of them, or until a line of another kind. With a journal, what
// an interrupted run has answered is not computed again; no text goes into it. {"open": {…, "vocabulary_only": true}} loads
// no weights: it tokenizes and spells, and computes nothing.
//
// llama.cpp's arithmetic depends on how a batch is composed: the rules of runtime/llama/streams.py are kept here (own
// memory for each sequence, rows and outputs a multiple of 4 and at least 8, no flash attention), so that numbers do not
// depend on what is asked beside, and on the same processor equal those of the Python side.

#include "digest.h"
#include "journal.h"
#include "llama.h"
#include "processor.h"
#include "refusal.h"
#include "white_space.h"

#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using json = nlohmann::json;
using Tokens = std::vector<llama_token>;

#ifndef PROBE_VARIANT
#define PROBE_VARIANT "host"
#endif
#ifndef PROBE_ENGINE
#define PROBE_ENGINE "llama.cpp, commit unknown"
#endif

namespace {

constexpr int ROW_GRAIN = 4;  // rows are computed in multiples of this many …
constexpr int MIN_ROWS = 8;   // … and never fewer than these
constexpr int STREAMS = 8;    // generations that go on side by side: MIN_ROWS rows of one token each
constexpr int ROWS = 512;     // tokens that one call may compute

constexpr int MOST_THREADS = 4;  // the default: phones have about as many fast cores

std::string written(const json & value) {
    return value.dump(-1, ' ', true);
}

void say(const json & line) {
    std::cout << written(line) << '\n' << std::flush;
    if (!std::cout) throw Refusal("cannot write an answer");
}

// A stream's size depends on its longest request alone: 256, 512, 1024, then thousands (runtime/llama/backend.py).
int cells_for(int length) {
    for (int size : {256, 512, 1024}) {
        if (length <= size) return size;
    }
    return (length + 1023) / 1024 * 1024;
}

int rounded(int value, int grain) {
    return (value + grain - 1) / grain * grain;
}

std::string hex(const std::string & bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (unsigned char byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

// Bytes; 0 where the system does not say. Not getrusage's: after exec that still counts the parent's memory.
int64_t peak_rss() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        if (word == "VmHWM:") {
            int64_t kib = 0;
            status >> kib;
            return kib * 1024;
        }
    }
    return 0;
}

class Engine {
  public:
    explicit Engine(const json & options) : threads_(options.value("threads", 0)) {
        const std::string path = options.at("model");
        if (threads_ < 1) threads_ = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, MOST_THREADS);
        sha256_ = digest_of_model(path);
        llama_backend_init();
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = 0;
        params.vocab_only = vocabulary_only_ = options.value("vocabulary_only", false);
        // llama.cpp's AMX kernels, which only repacked weights reach, crash (runtime/llama/model.py).
        params.use_extra_bufts = !std::strstr(llama_print_system_info(), "AMX_INT8 = 1");
        model_ = llama_model_load_from_file(path.c_str(), params);
        if (!model_) throw Refusal("llama.cpp cannot load the model: truncated, or of an unknown architecture");
        vocabulary_ = llama_model_get_vocab(model_);
        size_ = llama_vocab_n_tokens(vocabulary_);
    }

    ~Engine() {
        close();
        llama_model_free(model_);
    }

    json info() const {
        json devices = json::array();
        for (size_t index = 0; index < ggml_backend_dev_count(); ++index) {
            devices.push_back(ggml_backend_dev_name(ggml_backend_dev_get(index)));
        }
        return {{"engine", PROBE_ENGINE}, {"variant", PROBE_VARIANT}, {"features", llama_print_system_info()},
                {"devices", devices},     {"threads", threads_},      {"sha256", sha256_},
                {"vocabulary", size_},    {"context", llama_model_n_ctx_train(model_)}};
    }

    json score(const Tokens & context, const Tokens & continuation) {
        Tokens tokens = context;
        tokens.insert(tokens.end(), continuation.begin(), continuation.end() - 1);
        open(1, cells_for(static_cast<int>(tokens.size()) + MIN_ROWS));
        clear(0);
        json logprobs = json::array(), greedy = json::array(), ranks = json::array();
        json mean = json::array(), std = json::array();
        const int first = static_cast<int>(context.size()) - 1;
        read(0, tokens, first, [&](int position, const float * row) {
            const llama_token token = continuation[position - first];
            const Spread spread = look(row);
            int above = 0;
            for (int other = 0; other < size_; ++other) above += row[other] > row[token];
            logprobs.push_back(static_cast<float>(row[token] - spread.peak - spread.log_total));
            greedy.push_back(spread.best == token);
            ranks.push_back(above);
            mean.push_back(static_cast<float>(spread.mean));
            std.push_back(static_cast<float>(spread.deviation));
        });
        return {{"logprobs", logprobs}, {"greedy", greedy}, {"ranks", ranks}, {"mean", mean}, {"std", std}};
    }

    struct Going {
        json id, answer;  // the answer is there from the beginning where the journal has it
        std::string key;
        Tokens context, said;
        int max_tokens = 0;
        std::vector<std::string> stop;
        double temperature = 0;
        std::vector<double> uniforms;
        bool special = false;
        std::string text, finish;
    };

    // Continue up to STREAMS requests side by side.
    void generate(std::vector<Going> & all) {
        int longest = 0;
        for (const Going & one : all) {
            longest = std::max(longest, static_cast<int>(one.context.size()) + one.max_tokens);
        }
        open(STREAMS, cells_for(longest + MIN_ROWS));
        for (size_t stream = 0; stream < all.size(); ++stream) {
            Going & one = all[stream];
            clear(static_cast<int>(stream));
            read(static_cast<int>(stream), one.context, static_cast<int>(one.context.size()) - 1,
                 [&](int, const float * row) { take(one, row); });
        }
        while (std::any_of(all.begin(), all.end(), [](const Going & one) { return one.finish.empty(); })) {
            step(all);
        }
    }

    json usage() const { return {{"peak_rss", peak_rss()}, {"tokens", computed_}, {"seconds", seconds_}}; }

    int vocabulary() const { return size_; }

    Tokens tokenize(const std::string & text) const {
        Tokens tokens(text.size() + 16);
        const auto fill = [&] {
            return llama_tokenize(vocabulary_, text.data(), static_cast<int>(text.size()), tokens.data(),
                                  static_cast<int>(tokens.size()), false, true);
        };
        int count = fill();
        if (count < 0) {
            tokens.resize(-count);
            count = fill();
        }
        if (count < 0) throw Refusal("a text that cannot be tokenized");
        tokens.resize(count);
        return tokens;
    }

    std::string spell(const Tokens & tokens, bool special) const {
        std::string text;
        for (llama_token token : tokens) {
            if (!llama_vocab_is_eog(vocabulary_, token)) text += piece(token, special);
        }
        return text;
    }

  private:
    struct Spread {
        llama_token best;
        double peak, log_total, mean, deviation;
    };

    // As runtime/batching/logits.py: argmax (ties: the lowest id), log Σ exp, mean and deviation of log p under p.
    Spread look(const float * row) const {
        const llama_token best = static_cast<llama_token>(std::max_element(row, row + size_) - row);
        const double peak = row[best];
        double total = 0, first = 0, second = 0;
        for (int token = 0; token < size_; ++token) {
            if (!std::isfinite(row[token])) throw Refusal("the model's logits are not numbers");
            const double shifted = row[token] - peak, weight = std::exp(shifted);
            total += weight;
            first += weight * shifted;
            second += weight * shifted * shifted;
        }
        first /= total;
        second /= total;
        const double log_total = std::log(total);
        return {best, peak, log_total, first - log_total, std::sqrt(std::max(0.0, second - first * first))};
    }

    llama_token choose(const Going & one, const float * row) const {
        const Spread spread = look(row);
        if (one.temperature <= 0) return spread.best;
        // The token at this quantile of softmax(row / temperature), in order of ids.
        std::vector<double> cumulative(size_);
        double total = 0;
        for (int token = 0; token < size_; ++token) {
            total += std::exp((row[token] - spread.peak) / one.temperature);
            cumulative[token] = total;
        }
        const double wanted = one.uniforms.at(one.said.size()) * total;
        const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), wanted);
        return std::min(static_cast<int>(found - cumulative.begin()), size_ - 1);
    }

    // The caller decides where an answer ends, by the same tokens: this only saves computing what would be cut off.
    void take(Going & one, const float * row) {
        const llama_token token = choose(one, row);
        one.said.push_back(token);
        one.text += piece(token, one.special);
        const size_t begin = white_space(one.text);
        const bool stopped = std::any_of(one.stop.begin(), one.stop.end(), [&](const std::string & stop) {
            return !stop.empty() && one.text.find(stop, begin) != std::string::npos;
        });
        if (llama_vocab_is_eog(vocabulary_, token)) {
            one.finish = "eos";
        } else if (stopped) {
            one.finish = "stop";
        } else if (static_cast<int>(one.said.size()) >= one.max_tokens) {
            one.finish = "length";
        }
    }

    std::string piece(llama_token token, bool special) const {
        std::string text(64, '\0');
        int count = llama_token_to_piece(vocabulary_, token, text.data(), static_cast<int>(text.size()), 0, special);
        if (count < 0) {
            text.resize(-count);
            count = llama_token_to_piece(vocabulary_, token, text.data(), -count, 0, special);
        }
        text.resize(std::max(0, count));
        return text;
    }

    // Compute `tokens` into an empty stream, in parts; hand out the logits from position `first` on.
    template <typename OnRow> void read(int stream, const Tokens & tokens, int first, const OnRow & on_row) {
        const int length = static_cast<int>(tokens.size());
        for (int start = 0; start < length; start += ROWS) {
            const int count = std::min(ROWS, length - start);
            const int rows = std::max(MIN_ROWS, rounded(count, ROW_GRAIN));
            begin_batch();
            for (int row = 0; row < rows; ++row) {
                const int position = start + row;
                add(stream, position, row < count ? tokens[position] : 0, row < count && position >= first);
            }
            decode();
            for (int row = 0; row < count; ++row) {
                if (start + row >= first) on_row(start + row, llama_get_logits_ith(context_, row));
            }
            if (rows > count && !llama_memory_seq_rm(memory_, stream, length, -1)) {
                throw Refusal("this model's memory cannot take padding back");
            }
        }
    }

    // One more token for each generation that goes on; rows of the others are of no meaning.
    void step(std::vector<Going> & all) {
        begin_batch();
        for (int stream = 0; stream < STREAMS; ++stream) {
            const bool active = stream < static_cast<int>(all.size()) && all[stream].finish.empty();
            if (!active) clear(stream);
            const Going * one = active ? &all[stream] : nullptr;
            const int position = one ? static_cast<int>(one->context.size() + one->said.size()) - 1 : 0;
            add(stream, position, one ? one->said.back() : 0, active);
        }
        decode();
        for (size_t stream = 0; stream < all.size(); ++stream) {
            if (all[stream].finish.empty()) take(all[stream], llama_get_logits_ith(context_, static_cast<int>(stream)));
        }
    }

    void begin_batch() {
        tokens_.clear();
        positions_.clear();
        streams_.clear();
        outputs_.clear();
    }

    void add(int stream, int position, llama_token token, bool wanted) {
        tokens_.push_back(token);
        positions_.push_back(position);
        streams_.push_back(stream);
        outputs_.push_back(wanted);
    }

    void decode() {
        const int rows = static_cast<int>(tokens_.size());
        // The output matrix sees a multiple of ROW_GRAIN rows, too.
        const int asked = static_cast<int>(std::count(outputs_.begin(), outputs_.end(), 1));
        int missing = asked ? std::min(rows, std::max(MIN_ROWS, rounded(asked, ROW_GRAIN))) - asked : 0;
        for (int row = 0; row < rows && missing > 0; ++row) {
            if (!outputs_[row]) {
                outputs_[row] = 1;
                --missing;
            }
        }
        std::vector<int32_t> ones(rows, 1);
        std::vector<llama_seq_id *> pointers(rows);
        for (int row = 0; row < rows; ++row) pointers[row] = &streams_[row];
        llama_batch batch{};
        batch.n_tokens = rows;
        batch.token = tokens_.data();
        batch.pos = positions_.data();
        batch.n_seq_id = ones.data();
        batch.seq_id = pointers.data();
        batch.logits = outputs_.data();
        const auto before = std::chrono::steady_clock::now();
        if (const int status = llama_decode(context_, batch)) {
            throw Refusal("llama.cpp failed to compute " + std::to_string(rows) + " tokens: status " +
                          std::to_string(status));
        }
        seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
        computed_ += rows;
    }

    void clear(int stream) { llama_memory_seq_rm(memory_, stream, -1, -1); }

    void open(int count, int cells) {
        if (vocabulary_only_) throw Refusal("only the vocabulary is open");
        if (context_ && count_ == count && cells_ == cells) return;
        close();
        llama_context_params params = llama_context_default_params();
        params.n_ctx = count * cells;
        params.n_seq_max = count;
        params.n_batch = params.n_ubatch = params.n_outputs_max = ROWS;
        params.n_outputs_max_per_seq = 0;
        params.n_threads = params.n_threads_batch = threads_;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.kv_unified = false;
        params.swa_full = true;
        params.offload_kqv = params.op_offload = false;
        context_ = llama_init_from_model(model_, params);
        if (!context_) {
            throw Refusal("llama.cpp cannot make " + std::to_string(count) + " streams of " + std::to_string(cells) +
                          " tokens: not enough memory?");
        }
        memory_ = llama_get_memory(context_);
        count_ = count;
        cells_ = cells;
    }

    void close() {
        if (context_) llama_free(context_);
        context_ = nullptr;
    }

    int threads_, size_ = 0, count_ = 0, cells_ = 0;
    bool vocabulary_only_ = false;
    long computed_ = 0;
    double seconds_ = 0;
    std::string sha256_;
    llama_model * model_ = nullptr;
    const llama_vocab * vocabulary_ = nullptr;
    llama_context * context_ = nullptr;
    llama_memory_t memory_ = nullptr;
    Tokens tokens_;
    std::vector<llama_pos> positions_;
    std::vector<llama_seq_id> streams_;
    std::vector<int8_t> outputs_;
};

void require(llama_token token, int vocabulary) {
    if (token < 0 || token >= vocabulary) throw Refusal("a token that the vocabulary does not have");
}

Tokens tokens_of(const json & value, int vocabulary) {
    Tokens tokens = value.get<Tokens>();
    if (tokens.empty()) throw Refusal("a request without tokens");
    for (llama_token token : tokens) require(token, vocabulary);
    return tokens;
}

class Session {
  public:
    void answer(const json & line) {
        id_ = line.value("id", json());
        if (line.contains("generate")) {
            waiting_.push_back(request(line));
            if (waiting_.size() == STREAMS) flush();
            return;
        }
        flush();
        id_ = line.value("id", json());
        if (line.contains("processor")) {
            say({{"processor", {{"variants", runnable_variants()}}}});
        } else if (line.contains("open")) {
            open(line.at("open"));
        } else if (line.contains("score")) {
            score(line.at("score"));
        } else if (line.contains("tokenize")) {
            say({{"tokens", engine().tokenize(line.at("tokenize").at("text"))}});
        } else if (line.contains("spell")) {
            const json & asked = line.at("spell");
            const Tokens tokens = asked.at("tokens");
            for (llama_token token : tokens) require(token, engine().vocabulary());
            say({{"bytes", hex(engine().spell(tokens, asked.value("special", false)))}});
        } else if (line.contains("usage")) {
            say({{"usage", engine().usage()}});
        } else if (line.contains("finish")) {
            if (journal_) journal_->discard();
            journal_.reset();
            say({{"finished", true}});
        } else if (!line.contains("flush")) {
            throw Refusal("a line of no known kind");
        }
    }

    void flush() {
        std::vector<Engine::Going> missing;
        for (const Engine::Going & one : waiting_) {
            if (one.answer.is_null()) missing.push_back(one);
        }
        if (!missing.empty()) engine().generate(missing);
        auto next = missing.begin();
        for (Engine::Going & one : waiting_) {
            if (one.answer.is_null()) {
                one.answer = {{"tokens", next->said}, {"finish", next->finish}};
                ++next;
                keep(one.key, one.answer);
            }
            one.answer["id"] = one.id;
            say(one.answer);
        }
        waiting_.clear();
    }

    const json & id() const { return id_; }

  private:
    Engine & engine() {
        if (!engine_) throw Refusal("no model is open");
        return *engine_;
    }

    void open(const json & options) {
        const auto variants = runnable_variants();
        if (std::find(variants.begin(), variants.end(), PROBE_VARIANT) == variants.end()) {
            throw Refusal("this processor cannot run the variant " PROBE_VARIANT "; it can run " + variants.back());
        }
        engine_ = std::make_unique<Engine>(options);
        json info = engine_->info();
        if (options.contains("journal")) {
            journal_ = std::make_unique<Journal>(options.at("journal"), written({info, options.value("origin", "")}));
        }
        info["resumed"] = journal_ ? journal_->resumed() : 0;
        say({{"info", info}});
    }

    void score(const json & asked) {
        const std::string key = Journal::key(written({{"score", asked}}));
        json found = kept(key);
        if (found.is_null()) {
            found = engine().score(tokens_of(asked.at("context"), engine().vocabulary()),
                                   tokens_of(asked.at("continuation"), engine().vocabulary()));
            keep(key, found);
        }
        found["id"] = id_;
        say(found);
    }

    json kept(const std::string & key) {
        const std::string found = journal_ ? journal_->find(key) : "";
        return found.empty() ? json() : json::parse(found);
    }

    void keep(const std::string & key, const json & answer) {
        if (journal_) journal_->keep(key, written(answer));
    }

    Engine::Going request(const json & line) {
        const json & asked = line.at("generate");
        Engine::Going one;
        one.id = line.at("id");
        one.key = Journal::key(written({{"generate", asked}}));
        one.answer = kept(one.key);
        one.context = tokens_of(asked.at("context"), engine().vocabulary());
        one.max_tokens = asked.at("max_tokens");
        one.stop = asked.value("stop", std::vector<std::string>());
        one.temperature = asked.value("temperature", 0.0);
        one.special = asked.value("special", false);
        one.uniforms = asked.value("uniforms", std::vector<double>());
        const size_t needed = one.temperature > 0 ? static_cast<size_t>(std::max(0, one.max_tokens)) : 0;
        if (one.max_tokens < 1 || one.uniforms.size() < needed) throw Refusal("a generation of impossible length");
        return one;
    }

    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Journal> journal_;
    std::vector<Engine::Going> waiting_;
    json id_;
};

// An assertion of llama.cpp: it names a place in its sources and no request.
void aborted(const char * message) {
    say({{"error", std::string("llama.cpp gave up: ") + message}});
    _exit(3);
}

extern "C" void crashed(int signal) {
    char line[] = "{\"error\":\"crashed: signal 00\"}\n";
    line[sizeof line - 6] = static_cast<char>('0' + signal / 10 % 10);
    line[sizeof line - 5] = static_cast<char>('0' + signal % 10);
    [[maybe_unused]] const auto count = write(STDOUT_FILENO, line, sizeof line - 1);
    _exit(3);
}

}  // namespace

int main() {
    umask(077);
    std::ios::sync_with_stdio(false);
    for (int signal : {SIGILL, SIGBUS, SIGSEGV, SIGFPE}) std::signal(signal, crashed);
    ggml_set_abort_callback(aborted);
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_CONT) std::fputs(text, stderr);
    }, nullptr);
    Session session;
    try {
        for (std::string line; std::getline(std::cin, line);) session.answer(json::parse(line));
        session.flush();
    } catch (const Refusal & refusal) {
        say({{"error", refusal.what()}, {"id", session.id()}});
        return 3;
    } catch (const json::exception &) {  // its message holds what was read
        say({{"error", "a line that is no request"}, {"id", session.id()}});
        return 3;
    } catch (const std::bad_alloc &) {
        say({{"error", "out of memory"}, {"id", session.id()}});
        return 3;
    } catch (const std::exception & error) {
        say({{"error", std::string("llama.cpp failed: ") + error.what()}, {"id", session.id()}});
        return 3;
    }
    return 0;
}
