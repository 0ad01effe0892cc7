"""Line by line: what each number of a log's line is, worked out for this run."""
