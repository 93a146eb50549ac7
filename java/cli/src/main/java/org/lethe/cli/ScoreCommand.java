package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
    String text = source.text == null ? null : TextBlocks.read(source.text);
    try (Device opened = device.open();
        LanguageModel language = LanguageModel.map(opened, model, type.dtype())) {
      int[] tokens = text == null ? given() : language.prompt(text);
      TokenScores scores = TokenScores.of(language.llama(), tokens);
      if (json) {
        Json.print(out, object(scores));
        return 0;
      }
      for (int i = 0; i < tokens.length; i++) {
        String token = language.tokenizer().decode(new int[] {tokens[i]}, false);
        out.printf("%8d  %9.4f  %s%n", tokens[i], scores.logprobs()[i], token.replace("\n", "\\n"));
      }
      out.printf("perplexity %.4f over %d tokens%n", scores.perplexity(), tokens.length);
      return 0;
    }
  }

  private int[] given() {
    return Objects.requireNonNull(source.tokens, "picocli wants one of the two");
  }

  private static Map<String, Object> object(TokenScores scores) {
    List<@Nullable Number> logprobs = new ArrayList<>();
    for (float p : scores.logprobs()) {
      logprobs.add(Json.number(p));
    }
    var object = new LinkedHashMap<String, @Nullable Object>();
    object.put("tokens", scores.tokens());
    object.put("logprobs", logprobs);
    object.put("perplexity", Json.number(scores.perplexity()));
    return object;
  }
}
