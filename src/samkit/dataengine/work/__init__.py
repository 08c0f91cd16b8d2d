"""Work on images: projects, ingest, the queue, annotations, reviews, jobs and statistics."""
