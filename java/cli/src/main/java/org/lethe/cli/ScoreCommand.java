package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.eval.TokenScores;
import org.lethe.kernels.Device;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe score}. */
@Command(
    name = "score",
    mixinStandardHelpOptions = true,
    description = "Prints the log-probability (in nats) that a model gives each token of a text.",
    footer = {
      "",
      "Example:",
      "  lethe score --model SmolLM2-135M-Instruct.Q4_1.gguf --text chapter.txt --json",
      "  {\"tokens\": [1, 4335, ...], \"logprobs\": [null, -3.2, ...], \"perplexity\": 24.9}",
      "A text longer than the model's context is scored in windows that overlap by half."
    })
final class ScoreCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "a Hugging Face directory or a .gguf file")
  Path model;

  @ArgGroup(multiplicity = "1")
  Source source;

  static final class Source {
    @Option(
        names = "--text",
        paramLabel = "FILE",
        description = "a UTF-8 file; the model's BOS is put in front")
    @Nullable Path text;

    @Option(
        names = "--tokens",
        split = ",",
        paramLabel = "N",
        description = "token ids, taken as they are")
    int @Nullable [] tokens;
  }

  @Option(names = "--json", description = "print one JSON object")
  boolean json;

  @Mixin TypeOption type = new TypeOption();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  ScoreCommand() {}

  @Override
  public Integer call() throws IOException {
    var out = spec.commandLine().getOut();
    try (Device opened = device.open();
        LanguageModel language = LanguageModel.open(opened, model, type.dtype())) {
      int[] tokens =
          source.tokens != null
              ? source.tokens
              : language.prompt(TextBlocks.read(java.util.Objects.requireNonNull(source.text)));
      TokenScores scores = TokenScores.of(language.llama(), tokens);
      if (json) {
        Json.print(out, object(scores));
        return 0;
      }
      for (int i = 0; i < tokens.length; i++) {
        String text = language.tokenizer().decode(new int[] {tokens[i]});
        out.printf("%8d  %9.4f  %s%n", tokens[i], scores.logprobs()[i], text.replace("\n", "\\n"));
      }
      out.printf("perplexity %.4f over %d tokens%n", scores.perplexity(), tokens.length);
      return 0;
    }
  }

  private static Map<String, Object> object(TokenScores scores) {
    List<@Nullable Double> logprobs = new ArrayList<>();
    for (float p : scores.logprobs()) {
      logprobs.add(Float.isNaN(p) ? null : Double.valueOf(p));
    }
    var object = new LinkedHashMap<String, Object>();
    object.put("tokens", scores.tokens());
    object.put("logprobs", logprobs);
    object.put("perplexity", scores.perplexity());
    return object;
  }
}
