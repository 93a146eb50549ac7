package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.lethe.text.Tokenizer;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Text to tokens and back, by the tokenizer of {@code --model}, or else by a byte-level one whose
 * merges are those of the text's words.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(2)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class Tokenizing {
  private final String text = MadeText.prose(40_000);
  private Tokenizer tokenizer;
  private int[] tokens;
  private Rates.Work work;

  /** Made by JMH. */
  public Tokenizing() {}

  /** Opens the tokenizer. */
  @Setup(Level.Trial)
  public void open() throws IOException {
    Path model = Settings.model();
    if (model == null) {
      Path folder = Files.createTempDirectory("lethe-bench");
      Path file = Files.write(folder.resolve("tokenizer.json"), MadeText.tokenizerJson(text));
      tokenizer = Tokenizer.open(folder);
      Files.delete(file);
      Files.delete(folder);
    } else {
      tokenizer = Tokenizer.open(model);
    }
    tokens = tokenizer.encode(text);
    work = new Rates.Work(0, 0, 0);
  }

  /** Holds what comes back against what went in. */
  @TearDown(Level.Trial)
  public void close() {
    String back = tokenizer.decode(tokens);
    if (!back.strip().equals(text.strip())) {
      throw new IllegalStateException("the text did not come back: " + back.substring(0, 80));
    }
    tokenizer.close();
  }

  /** 40,000 characters of prose. */
  @Benchmark
  public int[] encode(Rates rates, Machine machine) {
    rates.add(work);
    return tokenizer.encode(text);
  }

  /** Their tokens. */
  @Benchmark
  public String decode(Rates rates, Machine machine) {
    rates.add(work);
    return tokenizer.decode(tokens);
  }
}
