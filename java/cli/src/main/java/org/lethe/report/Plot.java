package org.lethe.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.VectorGraphicsEncoder.VectorGraphicsFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Lines over steps, both axes from 0, as SVG. */
final class Plot {
  /** Told apart by the colour-blind, too (Okabe and Ito 2008). */
  private static final Color[] COLORS = {
    new Color(0x0072B2),
    new Color(0xD55E00),
    new Color(0x009E73),
    new Color(0xCC79A7),
    new Color(0x56B4E9),
    new Color(0xE69F00),
    new Color(0x000000)
  };

  private static final Color INK = new Color(0x59636E);
  private static final Color GRID = new Color(0xE6EAEE);

  private final XYChart chart;

  /** A line: y at each x. */
  record Line(String name, List<Double> x, List<Double> y) {
    /** Without the points that are no numbers. */
    Line finite() {
      var keptX = new ArrayList<Double>();
      var keptY = new ArrayList<Double>();
      for (int i = 0; i < x.size(); i++) {
        if (Double.isFinite(x.get(i)) && Double.isFinite(y.get(i))) {
          keptX.add(x.get(i));
          keptY.add(y.get(i));
        }
      }
      return new Line(name, keptX, keptY);
    }
  }

  Plot(String xTitle, String yTitle, List<Line> lines) {
    chart =
        new XYChartBuilder().width(860).height(340).xAxisTitle(xTitle).yAxisTitle(yTitle).build();
    style(chart.getStyler());
    double top = 0;
    for (Line line : lines) {
      Line shown = line.finite();
      if (!shown.x().isEmpty()) {
        chart
            .addSeries(shown.name(), shown.x(), shown.y())
            .setMarker(SeriesMarkers.NONE)
            .setLineStyle(new BasicStroke(2f));
        top = Math.max(top, shown.y().stream().mapToDouble(y -> y).max().orElse(0));
      }
    }
    chart.getStyler().setYAxisMax(top > 0 ? 1.05 * top : 1);
  }

  private static void style(XYStyler styler) {
    Font font = new Font(Font.SANS_SERIF, Font.PLAIN, 13);
    styler.setLocale(Locale.ROOT);
    styler.setSeriesColors(COLORS);
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setChartFontColor(INK);
    styler.setPlotBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(1f));
    styler.setPlotGridVerticalLinesVisible(false);
    styler.setAxisTicksMarksVisible(false);
    styler.setAxisTickLabelsFont(font);
    styler.setAxisTickLabelsColor(INK);
    styler.setAxisTitleFont(font);
    styler.setXAxisDecimalPattern("0");
    styler.setXAxisTickMarkSpacingHint(70);
    styler.setXAxisMin(0.0);
    styler.setYAxisMin(0.0);
    styler.setLegendPosition(LegendPosition.OutsideE);
    styler.setLegendBorderColor(Color.WHITE);
    styler.setLegendFont(font);
  }

  /** Whether there is no point to show. */
  boolean isEmpty() {
    return chart.getSeriesMap().isEmpty();
  }

  /** What it shows, in words: the letters of the SVG are curves. */
  String caption() {
    return "%s over %s: %s"
        .formatted(
            chart.getYAxisTitle(),
            chart.getXAxisTitle(),
            String.join(", ", chart.getSeriesMap().keySet()));
  }

  /** The plot as an {@code <svg>} element. */
  String svg() {
    var bytes = new ByteArrayOutputStream();
    try {
      VectorGraphicsEncoder.saveVectorGraphic(chart, bytes, VectorGraphicsFormat.SVG);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    String svg = bytes.toString(StandardCharsets.UTF_8);
    return svg.substring(svg.indexOf("<svg"));
  }
}
