package org.lethe.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.concurrent.Callable;
import org.lethe.kernels.Device;
import org.lethe.model.Generator;
import org.lethe.model.LlamaWeights;
import org.lethe.model.Sampling;
import org.lethe.text.LanguageModel;
import org.lethe.text.ModelFiles;
import org.lethe.text.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code lethe generate}. */
@Command(
    name = "generate",
    mixinStandardHelpOptions = true,
    description = "Continues a prompt.",
    footer = {
      "",
      "Example:",
      "  lethe generate --model demo/unlearned --prompt \"Call me\" --max-tokens 20"
    })
final class GenerateCommand implements Callable<Integer> {
  /** Tokens from which on packing the weights saves more time than it takes. */
  private static final int WORTH_PACKING = 256;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "a Hugging Face directory or a .gguf file")
  Path model;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "P",
      description = "the text to continue; the model's BOS is put in front")
  String prompt;

  @Option(
      names = "--max-tokens",
      required = true,
      paramLabel = "N",
      description =
          "most tokens to generate; from "
              + WORTH_PACKING
              + " on the weights are packed for it, which takes 77%% of their bytes more memory")
  int maxTokens;

  @Option(
      names = "--temperature",
      defaultValue = "0",
      description = "0 takes the most probable token (default)")
  double temperature;

  @Option(
      names = "--top-p",
      defaultValue = "1",
      description = "draw among the most probable tokens that reach it (default ${DEFAULT-VALUE})")
  double topP;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "same seed, same text (default ${DEFAULT-VALUE})")
  long seed;

  @Option(names = "--json", description = "print one JSON object")
  boolean json;

  private boolean packed;

  @Mixin TypeOption type = new TypeOption();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  GenerateCommand() {}

  @Override
  public Integer call() throws IOException {
    if (maxTokens < 1) {
      throw new ParameterException(
          spec.commandLine(), "--max-tokens is " + maxTokens + ", must be at least 1");
    }
    Sampling sampling = Usage.checked(spec, () -> new Sampling(temperature, topP, seed));
    PrintWriter out = spec.commandLine().getOut();
    try (ModelFiles files = ModelFiles.open(model);
        Device opened = device.open();
        LanguageModel language = files.map(opened, type.dtype())) {
      var typist = new Typist(out, language.tokenizer());
      int[] tokens =
          new Generator(language.llama())
              .generate(
                  language.prompt(prompt),
                  maxTokens,
                  sampling,
                  token -> {
                    if (!json) {
                      typist.type(token);
                    }
                    if (maxTokens >= WORTH_PACKING) { // behind the first token, not before it
                      pack(language.weights(), opened);
                    }
                    return !out.checkError(); // nobody listens any more
                  });
      if (json) {
        var object = new LinkedHashMap<String, Object>();
        object.put("text", language.tokenizer().decode(tokens));
        object.put("tokens", tokens);
        Json.print(out, object);
      } else {
        typist.end();
      }
      return 0;
    }
  }

  /** Where the packed weights leave as much memory free again. */
  private void pack(LlamaWeights weights, Device opened) {
    if (!packed) {
      packed = true;
      long free =
          Machine.device(opened, type.dtype(), false).usableBytes() - opened.allocatedBytes();
      if (2 * weights.packedBytes() <= free) {
        weights.pack();
      }
    }
  }

  /** Prints tokens as they come: what a token adds, once the text so far ends in a character. */
  private static final class Typist {
    private static final String BROKEN = "\ufffd";

    private final PrintWriter out;
    private final Tokenizer tokenizer;
    private final List<Integer> tokens = new ArrayList<>();
    private int printed;

    Typist(PrintWriter out, Tokenizer tokenizer) {
      this.out = out;
      this.tokenizer = tokenizer;
    }

    void type(int token) {
      tokens.add(token);
      String text = text();
      if (!text.endsWith(BROKEN)) {
        print(text);
      }
    }

    void end() {
      print(text());
      out.println();
    }

    private void print(String text) {
      out.print(text.substring(Math.min(printed, text.length())));
      out.flush();
      printed = text.length();
    }

    private String text() {
      return tokenizer.decode(tokens.stream().mapToInt(Integer::intValue).toArray());
    }
  }
}
