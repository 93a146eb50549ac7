package org.lethe.text;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/**
 * SmolLM2's GGUF vocabulary tokenizes the whole of Moby-Dick as llama.cpp does; made by
 * smollm2-moby-dick.py.
 */
class MobyDickTest {
  @Test
  void everyFileAgreesWithLlamaCpp() throws Exception {
    String model = System.getProperty("lethe.test.smollm2");
    String book = System.getProperty("lethe.test.mobydick");
    assumeTrue(model != null && book != null, "lethe.test.smollm2 or .mobydick is not set");
    List<String> files = golden();
    assertEquals(140, files.size());
    try (Tokenizer tokenizer = Tokenizer.open(Path.of(model))) {
      for (String line : files) {
        String file = line.substring(0, line.indexOf('\t'));
        String text = TextBlocks.read(Path.of(book, file));
        int[] tokens = tokenizer.encode(text);
        assertEquals(line, "%s\t%d\t%s".formatted(file, tokens.length, hash(tokens)));
        assertEquals(text, tokenizer.decode(tokens));
      }
      List<int[]> blocks =
          TextBlocks.of(
              tokenizer, 1, TextBlocks.Cutting.once(512), List.of(Path.of(book, "chapter_1.txt")));
      assertTrue(blocks.size() > 5, () -> blocks.size() + " blocks");
    }
  }

  private static List<String> golden() throws Exception {
    try (InputStream in = MobyDickTest.class.getResourceAsStream("smollm2-moby-dick.tsv")) {
      return new String(Objects.requireNonNull(in).readAllBytes(), UTF_8).lines().toList();
    }
  }

  private static String hash(int[] tokens) throws Exception {
    ByteBuffer bytes = ByteBuffer.allocate(4 * tokens.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(tokens);
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes.array());
    return HexFormat.of().formatHex(Arrays.copyOf(digest, 8));
  }
}
