package org.lethe.text;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.model.LlamaConfig;
import org.lethe.model.TinyLlama;

/** A tiny random Llama with a tokenizer of bytes, and a text about a whale to go with it. */
public final class TinyModel {
  /** Tokens it can look back on. */
  public static final int POSITIONS = 128;

  private static final TinyLlama LLAMA =
      new TinyLlama(
          new LlamaConfig(
              TinyTokenizer.SIZE,
              32,
              56,
              2,
              4,
              2,
              8,
              POSITIONS,
              1e-5,
              10_000,
              null,
              true,
              TinyTokenizer.BOS,
              TinyTokenizer.EOS));

  private TinyModel() {}

  /** Writes it as a Hugging Face directory. */
  public static Path write(Path directory) {
    return write(directory, 0);
  }

  /** The same with noise of that size on its weights: a model that was trained on. */
  public static Path write(Path directory, float noise) {
    ModelWriter.writeHuggingFace(
        directory,
        LLAMA.config(),
        StoredType.F32,
        Map.of("tokenizer.json", TinyTokenizer.json()),
        (name, first, f32) -> {
          float[] weight = LLAMA.weight(name);
          float[] moved = TinyLlama.noise("moved " + name, weight.length);
          for (int i = 0; i < f32.byteSize() / Float.BYTES; i++) {
            int at = Math.toIntExact(first + i);
            f32.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, weight[at] + noise * moved[at]);
          }
        });
    return directory;
  }

  /** Writes a text of {@code sentences} sentences, no two of them alike. */
  public static Path text(Path file, int sentences) throws IOException {
    var text = new StringBuilder();
    for (int i = 1; i <= sentences; i++) {
      text.append("On day ")
          .append(i)
          .append(" the captain looked over the grey water for a long while, and then old Ahab")
          .append(" spoke of the whale to Starbuck.\n");
    }
    return Files.writeString(file, text);
  }

  /** Writes a dictionary of that text. */
  public static Path anchors(Path file) throws IOException {
    return Files.writeString(
        file,
        """
        {"Ahab": {"to": ["Jon", "Tom"], "kind": "person"},
         "Starbuck": {"to": "Smith", "kind": "person"},
         "Starbuck's": "Smith's",
         "whale": {"to": "beast", "kind": "thing", "unique": false}}
        """);
  }
}
