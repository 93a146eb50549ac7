package org.lethe.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.model.LlamaConfig;

/**
 * What the launcher's build runs once to see which classes a command needs, for Java's archive of
 * classes: a Llama of 672 weights is written, and goes on with a prompt.
 */
final class Rehearsal {
  private static final int LAST = 30_000;

  private static final LlamaConfig CONFIG =
      new LlamaConfig(LAST + 1, 16, 16, 1, 1, 1, 16, 64, 1e-5, 1e4, null, true, 0, 0);

  private Rehearsal() {}

  /** As large as those of real models: what takes long to read is compiled at once, next time. */
  private static String tokenizer() {
    return """
        {
          "version": "1.0",
          "added_tokens": [{"id": 0, "content": "<s>", "special": true}],
          "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
          "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
          "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3%s}, "merges": [["a", "b"]%s]}
        }
        """
        .formatted(
            IntStream.rangeClosed(4, LAST)
                .mapToObj(i -> ", \"\u0120w" + i + "\": " + i)
                .collect(Collectors.joining()),
            ", [\"a\", \"b\"]".repeat(LAST));
  }

  /** Rehearses; fails if a command does. */
  public static void main(String[] args) throws IOException {
    Path folder = Files.createTempDirectory("lethe-rehearsal");
    try {
      Path model = folder.resolve("model");
      ModelWriter.writeHuggingFace(
          model,
          CONFIG,
          StoredType.BF16,
          Map.of("tokenizer.json", tokenizer().getBytes(StandardCharsets.UTF_8)),
          (_, _, f32) -> f32.fill((byte) 0x3c));
      int code =
          Main.execute(
              "generate", "--model", model.toString(), "--prompt", "ab", "--max-tokens", "2");
      if (code != 0) {
        throw new IllegalStateException("generate ended with " + code);
      }
    } finally {
      try (Stream<Path> tree = Files.walk(folder)) {
        for (Path path : tree.toList().reversed()) {
          Files.delete(path);
        }
      }
    }
  }
}
