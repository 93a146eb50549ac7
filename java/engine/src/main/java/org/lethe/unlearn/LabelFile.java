package org.lethe.unlearn;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Kernels;
import org.lethe.train.RunFolder;
import org.lethe.train.TrainingBlock;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.json.JsonFactory;

/**
 * Blocks and their labels as JSON lines, for any trainer that shifts labels as Hugging Face's does:
 *
 * <pre>{@code
 * {"input_ids": [1, 512, 77], "labels": [-100, 12, 77], "labels_0.5": [...], "labels_2": [...]}
 * }</pre>
 *
 * <p>{@code labels[i]} is the target predicted from position i - 1, or -100 for none.
 */
public final class LabelFile {
  /** The label keys written, in the order of {@link GenericLabels#alphas}. */
  public static final List<String> KEYS = List.of("labels", "labels_0.5", "labels_2");

  private static final String INPUT_IDS = "input_ids";

  /** Longer blocks are taken for a broken file, before they fill the memory. */
  private static final int LONGEST_BLOCK = 1 << 20;

  private LabelFile() {}

  /**
   * Writes a label file, which appears whole at {@link #commit} or not at all: lines go to a file
   * aside, {@code NAME.part}, that is forced to disk and renamed. What is not committed stays
   * there, and the next writer of the same labels goes on behind its last whole line; beside it
   * {@code NAME.part.json} says what makes them.
   */
  public static final class Writer implements AutoCloseable {
    private final Path file;
    private final Path aside;
    private final Path made;
    private final FileChannel channel;
    private final OutputStream out;
    private int lines;
    private boolean committed;

    private Writer(Path file, byte[] makes) throws IOException {
      this.file = file.toAbsolutePath();
      aside = this.file.resolveSibling(this.file.getFileName() + ".part");
      made = this.file.resolveSibling(this.file.getFileName() + ".part.json");
      channel =
          FileChannel.open(
              aside, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      try {
        lock();
        if (!(Files.exists(made) && Arrays.equals(Files.readAllBytes(made), makes))) {
          channel.truncate(0);
          RunFolder.writeAtomically(made, makes);
        }
        long whole = wholeLines();
        channel.truncate(whole).position(whole);
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
      out = new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
    }

    private void lock() throws IOException {
      try {
        if (channel.tryLock() != null) {
          return;
        }
      } catch (OverlappingFileLockException e) {
        // This process itself has it.
      }
      throw new IOException("another run is writing " + aside);
    }

    /** Counts the lines that are there; returns where the last of them ends. */
    private long wholeLines() throws IOException {
      long end = 0;
      try (InputStream in = new BufferedInputStream(Files.newInputStream(aside), 1 << 16)) {
        long at = 0;
        for (int c = in.read(); c >= 0; c = in.read()) {
          at++;
          if (c == '\n') {
            end = at;
            lines++;
          }
        }
      }
      return end;
    }

    /** Lines that are there already: an earlier writer's, and those of {@link #write}. */
    public int lines() {
      return lines;
    }

    /**
     * Adds a line.
     *
     * @param inputIds (T)
     * @param labels (KEYS, T)
     */
    public void write(int[] inputIds, int[][] labels) throws IOException {
      if (labels.length != KEYS.size()) {
        throw new IllegalArgumentException(
            "%d rows of labels for the keys %s".formatted(labels.length, KEYS));
      }
      var line = new StringBuilder("{\"input_ids\": ").append(Arrays.toString(inputIds));
      for (int a = 0; a < labels.length; a++) {
        if (labels[a].length != inputIds.length) {
          throw new IllegalArgumentException(
              "%d %s for %d tokens".formatted(labels[a].length, KEYS.get(a), inputIds.length));
        }
        line.append(", \"").append(KEYS.get(a)).append("\": ").append(Arrays.toString(labels[a]));
      }
      out.write(line.append("}\n").toString().getBytes(StandardCharsets.US_ASCII));
      lines++;
    }

    /** Puts the file in its place. Nothing can be written after it. */
    public void commit() throws IOException {
      out.flush();
      channel.force(true);
      channel.close();
      Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE);
      committed = true;
      Files.deleteIfExists(made);
      Path folder = file.getParent();
      if (folder != null) {
        try (FileChannel entry = FileChannel.open(folder, StandardOpenOption.READ)) {
          entry.force(true);
        }
      }
    }

    /** Lines that were not committed are kept for the next writer. */
    @Override
    public void close() throws IOException {
      if (!committed) {
        out.flush();
        channel.close();
        if (lines == 0) {
          Files.deleteIfExists(aside);
          Files.deleteIfExists(made);
        }
      }
    }
  }

  /**
   * Starts a label file, or goes on with one; see {@link Writer}.
   *
   * @param makes all that the labels depend on: another writer's lines are kept where it is the
   *     same
   */
  public static Writer create(Path file, byte[] makes) throws IOException {
    return new Writer(file, makes);
  }

  /** Reads a label file line by line, each checked as it comes. */
  public static final class Reader implements AutoCloseable {
    private final Path file;
    private final String key;
    private final int vocabulary;
    private final InputStream in;
    private final JsonParser parser;
    private int line;

    private Reader(Path file, String key, int vocabulary) throws IOException {
      this.file = file;
      this.key = key;
      this.vocabulary = vocabulary;
      in = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
      parser = JsonFactory.builder().build().createParser(ObjectReadContext.empty(), in);
    }

    /**
     * The next block, or null after the last.
     *
     * @throws IllegalArgumentException if the line does not hold one; the message has its number
     */
    public @Nullable TrainingBlock next() {
      int previous = line;
      try {
        JsonToken token = parser.nextToken();
        if (token == null) {
          return null;
        }
        line = parser.currentTokenLocation().getLineNr();
        if (token != JsonToken.START_OBJECT || line == previous) {
          throw fail("there must be one object a line, {\"input_ids\": [...], ...}");
        }
        TrainingBlock block = block();
        if (parser.currentTokenLocation().getLineNr() != line) {
          throw fail("the object does not end on its line");
        }
        return block;
      } catch (JacksonException e) {
        if (line == previous && e.getLocation() != null) {
          line = e.getLocation().getLineNr(); // it is no object at all
        }
        throw fail(e.getOriginalMessage());
      }
    }

    private TrainingBlock block() {
      Map<String, int[]> arrays = new HashMap<>();
      List<String> found = new ArrayList<>();
      while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        if (!name.equals(INPUT_IDS) && !name.equals(key)) {
          parser.skipChildren();
        } else if (arrays.put(name, ints(name)) != null) {
          throw fail("'" + name + "' comes twice");
        }
        if (found.size() < 16) {
          found.add(name);
        }
      }
      int[] inputIds = required(arrays, INPUT_IDS, found);
      int[] labels = required(arrays, key, found);
      if (inputIds.length == 0 || labels.length != inputIds.length) {
        throw fail("%d input_ids and %d %s".formatted(inputIds.length, labels.length, key));
      }
      checkRange(INPUT_IDS, inputIds, false);
      checkRange(key, labels, !key.equals(INPUT_IDS));
      return new TrainingBlock(inputIds, labels);
    }

    private int[] ints(String name) {
      if (parser.currentToken() != JsonToken.START_ARRAY) {
        throw fail("'" + name + "' must be a list of whole numbers");
      }
      int[] values = new int[512];
      int n = 0;
      while (parser.nextToken() != JsonToken.END_ARRAY) {
        if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
          throw fail("'%s'[%d] must be a whole number".formatted(name, n));
        }
        if (n == LONGEST_BLOCK) {
          throw fail("'%s' has more than %d entries".formatted(name, LONGEST_BLOCK));
        }
        if (n == values.length) {
          values = Arrays.copyOf(values, 2 * n);
        }
        values[n++] = parser.getIntValue();
      }
      return Arrays.copyOf(values, n);
    }

    private int[] required(Map<String, int[]> arrays, String name, List<String> found) {
      int[] values = arrays.get(name);
      if (values == null) {
        throw fail("there is no '%s'; it has: %s".formatted(name, String.join(", ", found)));
      }
      return values;
    }

    private void checkRange(String name, int[] values, boolean mayIgnore) {
      for (int i = 0; i < values.length; i++) {
        int v = values[i];
        if ((v < 0 || v >= vocabulary) && !(mayIgnore && v == Kernels.IGNORE)) {
          throw fail(
              "'%s'[%d] is %d, the model's vocabulary has tokens 0 to %d"
                  .formatted(name, i, v, vocabulary - 1));
        }
      }
    }

    private IllegalArgumentException fail(String what) {
      return new IllegalArgumentException("%s, line %d: %s".formatted(file, line, what));
    }

    @Override
    public void close() throws IOException {
      parser.close();
      in.close();
    }
  }

  /**
   * Opens a label file.
   *
   * @param key which labels: one of {@link #KEYS}, or another that the file has
   * @param vocabulary of the model to train: tokens from there on are refused
   */
  public static Reader open(Path file, String key, int vocabulary) throws IOException {
    return new Reader(file, key, vocabulary);
  }

  /**
   * All blocks of a label file; see {@link #open}.
   *
   * @throws IllegalArgumentException if a line is malformed, or there is none
   */
  public static List<TrainingBlock> read(Path file, String key, int vocabulary) throws IOException {
    List<TrainingBlock> blocks = new ArrayList<>();
    try (Reader reader = open(file, key, vocabulary)) {
      TrainingBlock block;
      while ((block = reader.next()) != null) {
        blocks.add(block);
      }
    }
    if (blocks.isEmpty()) {
      throw new IllegalArgumentException(file + " has no lines: label a text first");
    }
    return blocks;
  }
}
