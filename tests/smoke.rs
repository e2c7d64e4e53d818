use computesdk::{compute::Compute, provider::*, command::RunOptions};
#[tokio::test(flavor="multi_thread")]
async fn smoke() {
    let c = Compute::default();
    let t = std::time::Instant::now();
    let s = c.create(&CreateRequest::default()).await.unwrap();
    println!("create {:?}", t.elapsed());
    for _ in 0..5 {
    let t = std::time::Instant::now();
    let s2 = c.create(&CreateRequest::default()).await.unwrap();
    let e = t.elapsed();
    s2.destroy().await.unwrap();
    println!("create {:?} destroy {:?}", e, t.elapsed()-e);
    }
    for _ in 0..5 {
    let o = s.run_command(Command{program: Program::Args(vec!["true".into()]), ..Default::default()}, RunOptions::default()).await.unwrap();
    println!("{:?}", o);
    }
    let o = s.run_command(Command{program: Program::Shell("echo hi; which python node pip; id; python -c 'import ssl; print(3)' ; head -c 30000000 /dev/zero | wc -c; ls -la /usr/local/bin /opt".into()), ..Default::default()}, RunOptions::default()).await.unwrap();
    println!("{}{}{:?}", o.stdout, o.stderr, o.duration);
    let o = s.run_code("import sys; print(sys.version, 1+1)", None, Default::default(), Default::default()).await.unwrap();
    println!("{:?}", o);
    let o = s.run_code("console.log(process.version)", None, Default::default(), Default::default()).await.unwrap();
    println!("{:?}", o);
    println!("{:?}", s.run_code("def x(:\n  pass", None, Default::default(), Default::default()).await);
    println!("{:?}", s.run_command(Command{program: Program::Args(vec!["nope".into()]), ..Default::default()}, RunOptions::default()).await);
    println!("{:?}", s.run_command(Command{program: Program::Shell("sleep 100 & echo a; setsid -f sleep 1000; sleep 50".into()), ..Default::default()}, RunOptions{timeout: Some(std::time::Duration::from_millis(200)), ..Default::default()}).await);
    println!("{:?}", s.run_command(Command{program: Program::Shell("ps aux; sleep 100 & echo x".into()), ..Default::default()}, RunOptions::default()).await.unwrap().stdout);
    let f = s.filesystem();
    f.write("/app/x/y.txt", "hello".into()).await.unwrap();
    println!("{:?}", f.read_text("/app/x/y.txt").await);
    let big = bytes::Bytes::from(vec![7u8; 100<<20]);
    let t = std::time::Instant::now();
    f.write("/app/big", big.clone()).await.unwrap(); println!("write {:?}", t.elapsed());
    let t = std::time::Instant::now();
    assert!(f.read("/app/big").await.unwrap() == big); println!("read {:?}", t.elapsed());
    println!("{:?}", f.list("/app").await);
    println!("{:?}", f.list("/usr/lib").await.map(|l| l.len()));
    println!("{:?}", f.read_text("/proc/self/status").await.map(|s| s.len()));
    println!("{:?}", f.read_text("/nope").await);
    println!("{:?}", f.write("/proc/x", "a".into()).await);
    println!("{:?}", f.write("/usr/lib/x", "a".into()).await);
    println!("{:?}", f.remove("/app").await);
    println!("{:?} {}", f.remove("/app").await, f.exists("/etc").await);
    println!("{:?}", s.info().await);
    s.destroy().await.unwrap();
    println!("{:?}", s.info().await.unwrap().reason);
    println!("{:?}", f.list("/").await);
}
