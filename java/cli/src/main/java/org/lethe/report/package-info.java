/** The report: one HTML file that needs no network. */
@NullMarked
package org.lethe.report;

import org.jspecify.annotations.NullMarked;
