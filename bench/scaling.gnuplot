# Time and memory against size, from columns of data: millions of experiments;
# seconds of derive, of the first load; megabytes of derive and of the first load
# at the default work_mem, then at 64 MB (drawn where settings is 2).
set terminal svg size 900,420 font 'sans-serif,13' background 'white'
set output drawing
set multiplot layout 1,2
set logscale xy
set grid linecolor rgb '#dddddd'
set key bottom right
set xlabel 'million experiments'
set style line 1 linecolor rgb '#1b6ca8' linewidth 2 pointtype 7 pointsize 0.8
set style line 2 linecolor rgb '#c2571a' linewidth 2 pointtype 5 pointsize 0.8
set style line 3 linecolor rgb '#1b6ca8' linewidth 2 pointtype 6 pointsize 0.8 dashtype 2
set style line 4 linecolor rgb '#c2571a' linewidth 2 pointtype 4 pointsize 0.8 dashtype 2

set title 'Time (seconds)'
plot data using 1:2 with linespoints linestyle 1 title 'derive', \
     data using 1:3 with linespoints linestyle 2 title 'first load'

set title 'Memory of the largest process (MB)'
set yrange [1:*]
if (settings == 2) {
    plot data using 1:4 with linespoints linestyle 1 title 'derive', \
         data using 1:5 with linespoints linestyle 2 title 'first load', \
         data using 1:6 with linespoints linestyle 3 title 'derive, work\_mem 64 MB', \
         data using 1:7 with linespoints linestyle 4 title 'first load, work\_mem 64 MB'
} else {
    plot data using 1:4 with linespoints linestyle 1 title 'derive', \
         data using 1:5 with linespoints linestyle 2 title 'first load'
}
unset multiplot
