//! The quota of a deployment, which instances divide.

use super::*;
use softlabel_doubles::azure_openai::Limits;

/// Requests a minute: 15 a second, of which one instance could use all.
const RPM: u32 = 900;

#[test]
fn instances_keep_within_one_quota_together() {
    on_the_cloud(async {
        let service = Config {
            limits: Limits {
                rpm: Some(u64::from(RPM)),
                ..Limits::default()
            },
            ..slow(150.0)
        };
        let options = Options {
            service,
            instances: 2,
            ..options()
        };
        let options = options
            // More chunks than a host takes at once, so that the other has some.
            .setting("SOFTLABEL_CHUNK_TURNS", "8")
            .setting("SOFTLABEL_NO_RATIONALES", "true")
            .setting("SOFTLABEL_CONCURRENCY", "8")
            .setting("SOFTLABEL_RPM", RPM.to_string());
        let cloud = cloud(options).await;
        let (content, turns) = bucket(22, 60);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        let log = cloud.service().log();
        for host in cloud.hosts() {
            let caller = cloud.caller(host);
            let calls = log.iter().filter(|call| call.caller == caller).count();
            assert!(calls > 30, "{calls} of {}", log.len());
        }
        let refused = log.iter().filter(|call| call.status == Some(429)).count();
        assert!(refused * 50 < log.len(), "{refused} of {}", log.len());
        cloud.stop().await;
    });
}
