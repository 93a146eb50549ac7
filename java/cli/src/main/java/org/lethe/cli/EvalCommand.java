package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.eval.Evaluation;
import org.lethe.eval.Familiarity;
import org.lethe.eval.Prompt;
import org.lethe.eval.PromptDraft;
import org.lethe.kernels.Device;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import org.lethe.unlearn.AnchorDictionary;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code lethe eval}. */
@Command(
    name = "eval",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Measures how well models know a text: the probability of known answers, how many greedy",
      "completions name what only the text has, and perplexity. Several models stand side by side."
    },
    footer = {
      "",
      "Example:",
      "  lethe eval --model taught --model unlearned --prompts prompts.json --anchors anchors.json \\",
      "             --text book.txt --unrelated other.txt"
    })
final class EvalCommand implements Callable<Integer> {
  private static final TextBlocks.Cutting BLOCKS = TextBlocks.Cutting.once(512);

  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "a Hugging Face directory or a .gguf file; may be given several times")
  List<Path> models;

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description =
          "JSON array of {\"prompt\", \"answer\", \"distractors\", \"kind\": completion|probability};"
              + " drafted from --text where not given")
  @Nullable Path prompts;

  @Option(
      names = "--anchors",
      required = true,
      paramLabel = "FILE",
      description = "the dictionary; completions are searched for its unique expressions")
  Path anchors;

  @Option(
      names = "--text",
      arity = "1..*",
      paramLabel = "FILE",
      description = "the text to forget, for perplexity and for prompts")
  List<Path> texts = List.of();

  @Option(names = "--unrelated", paramLabel = "FILE", description = "other text, for perplexity")
  @Nullable Path unrelated;

  @Option(
      names = "--split",
      paramLabel = "NAME",
      description = "only the prompts of this split (the demo's: tune, dev, seen, report)")
  @Nullable String split;

  @Option(names = "--json", description = "print one JSON object a model")
  boolean json;

  @Mixin TypeOption type = new TypeOption();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  EvalCommand() {}

  @Override
  public Integer call() throws IOException {
    List<String> unique = AnchorDictionary.read(anchors).unique();
    List<Prompt> asked = asked(unique);
    if (unrelated != null) {
      TextBlocks.read(unrelated); // what cannot be read is said before a model is loaded
    }
    var out = spec.commandLine().getOut();
    try (Device opened = device.open();
        Progress progress = new Progress()) {
      for (Path model : models) {
        progress.begin(String.valueOf(model.getFileName()), "prompts", 0, asked.size() + 2);
        try (LanguageModel language = LanguageModel.map(opened, model, type.dtype())) {
          Evaluation evaluation =
              Evaluation.of(
                  language,
                  asked,
                  unique,
                  texts.isEmpty() ? List.of() : language.blocks(texts, BLOCKS),
                  unrelated == null ? List.of() : language.blocks(List.of(unrelated), BLOCKS),
                  (done, all) -> progress.at(done, all, ""));
          progress.end();
          if (json) {
            Json.print(out, object(model, evaluation));
          } else {
            print(model, evaluation);
          }
        }
      }
      return 0;
    }
  }

  /** The prompts of the file, or drafted from the text; of one split where one is named. */
  private List<Prompt> asked(List<String> unique) throws IOException {
    if (prompts == null && texts.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(), "needs --prompts, or --text to draft prompts from");
    }
    String text = String.join("\n\n", texts.stream().map(TextBlocks::read).toList());
    List<Prompt> asked =
        (prompts == null ? PromptDraft.of(text, unique, PromptDraft.COUNT) : Prompt.read(prompts))
            .stream().filter(p -> split == null || p.split().equals(split)).toList();
    if (asked.isEmpty()) {
      throw new IOException(
          "%s no prompt%s"
              .formatted(
                  prompts == null
                      ? "the text names no unique expression of " + anchors + ": it gives"
                      : prompts + " has",
                  split == null ? "" : " of split " + split));
    }
    return asked;
  }

  private void print(Path model, Evaluation e) {
    var out = spec.commandLine().getOut();
    out.println(model);
    for (Familiarity.Completion c : e.completions()) {
      out.printf("  %s%n    -> %s%n", oneLine(c.prompt().text()), oneLine(c.text()));
      if (c.familiar()) {
        out.println("    names " + String.join(", ", c.named()));
      }
    }
    out.printf(
        "  known answers %.4f   familiarity %.2f   perplexity on the text %.2f, unrelated %.2f%n",
        e.probability(), e.familiarity(), e.textPerplexity(), e.unrelatedPerplexity());
  }

  private static String oneLine(String text) {
    return text.replaceAll("\\s+", " ");
  }

  static Map<String, @Nullable Object> object(Path model, Evaluation e) {
    var object = new LinkedHashMap<String, @Nullable Object>();
    object.put("model", model.toString());
    object.put("known_answers", Json.number(e.probability()));
    object.put("familiarity", Json.number(e.familiarity()));
    object.put("perplexity_text", Json.number(e.textPerplexity()));
    object.put("perplexity_unrelated", Json.number(e.unrelatedPerplexity()));
    var answers = new ArrayList<Map<String, @Nullable Object>>();
    for (Evaluation.Answer a : e.answers()) {
      var answer = new LinkedHashMap<String, @Nullable Object>();
      answer.put("id", a.prompt().id());
      answer.put("probability", a.probability());
      answer.put("best_distractor", Json.number(a.bestDistractor()));
      answers.add(answer);
    }
    object.put("answers", answers);
    var completions = new ArrayList<Map<String, Object>>();
    for (Familiarity.Completion c : e.completions()) {
      var completion = new LinkedHashMap<String, Object>();
      completion.put("id", c.prompt().id());
      completion.put("completion", c.text());
      completion.put("named", c.named());
      completions.add(completion);
    }
    object.put("completions", completions);
    return object;
  }
}
