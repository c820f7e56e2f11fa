//! What must hold of every story at its end, whatever happened in it.

use super::World;

impl World {
    /// Fails when two runs changed a project at the same time.
    pub async fn assert_one_run_at_a_time(&self) {
        let overlaps: Vec<String> = sqlx::query_scalar(
            "SELECT a.kind || ' ' || a.id || ' and ' || b.kind || ' ' || b.id FROM run a JOIN run b
             ON a.project_id = b.project_id AND a.id < b.id AND a.kind <> 'propose' AND b.kind <> 'propose'
                AND a.conclusion IS DISTINCT FROM 'refused' AND b.conclusion IS DISTINCT FROM 'refused'
                AND tstzrange(a.created_at, a.completed_at) && tstzrange(b.created_at, b.completed_at)",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("the store answers");
        assert!(overlaps.is_empty(), "at the same time: {overlaps:#?}");
    }
}
